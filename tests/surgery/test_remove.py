"""Normalisations removed from nets: what their readers read then, and that removal with weights is folding."""

from __future__ import annotations

import pytest

from dragon.bases.layer import TEST
from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.model import Model
from dragon.surgery.remove import remove
from tests.surgery.helpers import CONV, FORMS, HEAD, TAIL, definition, largest, trained
from tests.surgery.test_phase_pairs import FORMS as PAIRS
from tests.surgery.test_phase_pairs import definition as pair


@pytest.mark.parametrize("form", FORMS)
def test_without_weights(form: str) -> None:
    new = remove(Model(definition(form))).net
    expected = parse_text(HEAD + CONV + TAIL.replace("NAME", "conv1"), pb.NetParameter())
    new.layer[1].convolution_param.ClearField("bias_filler")  # came from beta
    del new.layer[1].param[1:]
    del expected.layer[1].param[1:]
    for net in (new, expected):
        del net.layer[1].param[:]
    assert new == expected


@pytest.mark.parametrize("form", PAIRS)
def test_pairs(form: str) -> None:
    notes: list[str] = []
    new = remove(Model(pair(form)), note=notes.append).net
    assert len(notes) == 1, "one for both phases"
    assert [layer.name for layer in new.layer] == ["data", "conv1", "relu", "ip", "drop"]
    assert list(new.layer[2].bottom) == ["conv1"]


@pytest.mark.parametrize("form", FORMS)
def test_with_weights_test_stays(form: str) -> None:
    old = trained(definition(form))
    lines: list[str] = []
    new = remove(old, note=lines.append)
    assert lines == ["folded bn1 into conv1"]
    assert largest(old, new, (TEST,)) < 1e-5


def test_a_value_with_other_readers_is_not_overwritten() -> None:
    """A pre-activation block: behind the normalisation a ReLU in place, beside it the shortcut."""
    text = HEAD + CONV + 'layer { name: "bn1" type: "BN" bottom: "conv1" top: "bn1" }'
    text += TAIL.replace("NAME", "bn1")
    text += 'layer { name: "sum" type: "Eltwise" bottom: "bn1" bottom: "conv1" top: "sum" }'
    new = remove(Model(parse_text(text, pb.NetParameter()))).net
    assert [(list(layer.bottom), list(layer.top)) for layer in new.layer[2:]] == [
        (["conv1"], ["bn1"]),
        (["bn1"], ["ip"]),
        (["ip"], ["ip"]),
        (["bn1", "conv1"], ["sum"]),
    ]
    assert new.layer[1].convolution_param.bias_term


def test_others_than_batch_normalisation_are_named() -> None:
    text = HEAD + CONV + 'layer { name: "gn" type: "GroupNorm" bottom: "conv1" top: "conv1" }'
    old = parse_text(text + TAIL.replace("NAME", "conv1"), pb.NetParameter())
    with pytest.raises(UsageError, match=r"has no batch normalisation with .* by name or type: gn$"):
        remove(Model(old))
    assert "gn" not in {layer.name for layer in remove(Model(old), "group_norm").net.layer}
    with pytest.raises(UsageError, match=r'layer "relu" \(ReLU\) is no normalisation'):
        remove(Model(old), "relu")
    with pytest.raises(UsageError, match=r'did you mean "conv1"\?'):
        remove(Model(old), "conv")


def test_a_chosen_one_with_its_scale() -> None:
    new = remove(Model(definition("split")), "bn1", bias=False).net
    assert [layer.name for layer in new.layer] == ["data", "conv1", "relu", "ip", "drop"]
