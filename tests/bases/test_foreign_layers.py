"""Types of other forks: the type is judged before its settings, so that the explanation is seen."""

from __future__ import annotations

import pytest

from dragon.bases.foreign_layers import describe_foreign, describe_foreign_settings
from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text


def message_of(text: str, allow_unknown: bool = False) -> str:
    with pytest.raises(PrototxtError) as caught:
        parse_text(text, pb.NetParameter(), allow_unknown=allow_unknown)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["FlowWarp", "DenseCRF", "Correlation", "MultiStageMeanfield"])
def test_the_type_comes_before_its_settings(kind: str) -> None:
    for text in (
        f'layer {{ name: "a" type: "{kind}" strange_param {{ x: 1 }} }}',
        f'layer {{ strange_param {{ x: 1 }} name: "a" type: "{kind}" }}',
        f'layer {{ name: "a" convolution_param {{ sparkle: 3 }} type: "{kind}" }}',
    ):
        message = message_of(text)
        assert f'unknown layer type "{kind}": {describe_foreign(kind)}' in message
        assert "strange" not in message


def test_a_type_that_nobody_has() -> None:
    message = message_of('layer { name: "a" type: "Convolutoin" convolutoin_param { x: 1 } }')
    assert message == '<string>:1:25: unknown layer type "Convolutoin" (did you mean "Convolution"?), in layer "a"'


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("multi_stage_meanfield_param", "MultiStageMeanfield"), ("dense_crf_param", "DenseCRF"),
        ("flow_warp_param", "FlowWarp"),
    ],
)  # fmt: skip
def test_settings_of_a_fork_in_another_layer(field: str, kind: str) -> None:
    assert describe_foreign_settings(field) == f"it belongs to {kind}, {describe_foreign(kind)}"
    message = message_of(f'layer {{ name: "a" type: "Python" {field} {{ x: 1 }} }}')
    assert f'LayerParameter has no field "{field}": it belongs to {kind}, ' in message
    assert "did you mean" not in message


def test_a_known_type_gets_its_nearest_field() -> None:
    assert 'has no field "relu_parma" (did you mean "relu_param"?)' in message_of(
        'layer { type: "ReLU" relu_parma {} }'
    )
    assert describe_foreign_settings("relu_param") == ""


def test_long_lists_of_names_are_left_out() -> None:
    message = message_of('layers { name: "a" type: CONVOLUTOIN }')
    assert '"type" has no value "CONVOLUTOIN" (did you mean "CONVOLUTION"?)' in message
    assert "INNER_PRODUCT" not in message
    assert "is one of MAX, AVE, STOCHASTIC" in message_of('layer { type: "Pooling" pooling_param { pool: MIN } }')
