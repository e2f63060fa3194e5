"""Folding batch normalisation for deployment: TEST goes on computing the same without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import UsageError, WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.surgery.fold import fold
from dragon.surgery.merge import merge
from dragon.surgery.model import Model
from dragon.surgery.normalisations import Normalisation, PhaseGraphs
from dragon.surgery.show import show
from tests.surgery.helpers import CONV, FORMS, HEAD, SPLIT, TAIL, definition, largest, trained

TARGETS = {
    "convolution in groups": CONV,
    "without bias": CONV.replace("num_output: 6", "num_output: 6 bias_term: false"),
    "deconvolution": CONV.replace('"Convolution"', '"Deconvolution"'),
    "inner product": """layer { name: "conv1" type: "InnerProduct" bottom: "data" top: "conv1"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }""",
    "transposed inner product": """layer { name: "conv1" type: "InnerProduct" bottom: "data" top: "conv1"
        inner_product_param { num_output: 6 transpose: true bias_term: false weight_filler { type: "xavier" } } }""",
}

NAMED = HEAD + CONV.replace('top: "conv1"', 'top: "conv1" param { name: "w" } param { name: "b" }')


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("form", ["split", "merged"])
def test_into_every_kind_of_layer(form: str, target: str) -> None:
    check(trained(definition(form, TARGETS[target])))


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_of_batch_normalisation(form: str) -> None:
    check(trained(definition(form)))


def check(old: Model) -> None:
    new, done, left = fold(old)
    assert (done, left) == ([("bn1", "conv1")], [])
    assert not {"BatchNorm", "BN", "Scale"} & {layer.type for layer in new.net.layer}
    assert len(new.arrays["conv1"]) == 2, "a bias takes the shift up"
    assert largest(old, new, (TEST,)) < 1e-5


SEGNET = """layer { name: "bn1" type: "BN" bottom: "conv1" top: "s1" bn_param { bn_mode: MODE
  scale_filler { type: "uniform" min: 0.5 max: 2 } shift_filler { type: "uniform" } } }
"""


def test_scale_and_shift_of_segnet() -> None:
    """INFERENCE: the statistics are in them already."""
    text = HEAD + CONV + SEGNET + TAIL.replace("NAME", "s1")
    check(trained(parse_text(text.replace("MODE", "INFERENCE"), pb.NetParameter())))
    learn = trained(parse_text(text.replace("MODE", "LEARN"), pb.NetParameter()))
    with pytest.raises(UsageError, match="no batch normalisation with running statistics: nothing to fold"):
        fold(learn)


def test_a_batch_norm_without_scale() -> None:
    text = HEAD + CONV + 'layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "conv1" }'
    check(trained(parse_text(text + TAIL.replace("NAME", "conv1"), pb.NetParameter())))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD + SPLIT.replace('"conv1"', '"data"'), 'it follows "data" (DummyData)'),
        (HEAD + CONV + SPLIT + 'layer { name: "x" type: "Softmax" bottom: "conv1" top: "x" }', "read by other layers"),
        (NAMED + SPLIT + NAMED.replace('"conv1"', '"conv2"')[len(HEAD) :], '"conv1" are shared'),
        (HEAD + CONV + SPLIT.replace('"BatchNorm"', '"BatchNorm" phase: TRAIN'), "by the batch in TEST too"),
        (
            HEAD + CONV + SPLIT.replace('"BatchNorm"', '"BatchNorm" include { phase: TRAIN }'),
            "not present in the same phases",
        ),
    ],
)
def test_what_cannot_be_folded_stays_and_says_why(text: str, why: str) -> None:
    old = trained(parse_text(text, pb.NetParameter()))
    new, done, left = fold(old)
    assert done == []
    assert left[0][0] == "bn1"
    assert why in left[0][1]
    assert new.net == old.net


def siamese(form: str, second: str = "", bias: str = 'param { name: "b" }', shared: bool = True) -> pb.NetParameter:
    """Two towers of a convolution and a normalisation, which share all blobs; second: changes of the other, "A>B"."""
    conv = CONV.replace('top: "conv1"', f'top: "conv1" param {{ name: "w" }} {bias}')
    norm, top = FORMS[form]
    blobs = "".join(f'param {{ name: "n{i}" }} ' for i in range(5 if form == "merged" else 3) if shared)
    norm = norm.replace('bottom: "conv1"', f'{blobs}bottom: "conv1"')
    if shared:
        norm = norm.replace("param { lr_mult: 2 } param { lr_mult: 3 }", 'param { name: "g" } param { name: "h" }')
    tower = conv + norm + TAIL.replace("NAME", top)
    other = tower.replace('{ name: "', '{ name= "')
    for name in ("conv1", "bn1", "scale1", "s1", "relu", "ip", "drop"):
        other = other.replace(f'"{name}"', f'"{name}_p"')
    for change in filter(None, second.split(";")):
        old, new = change.split(">")
        assert old in other
        other = other.replace(old, new)
    data = HEAD.replace('name: "n"', "").replace('"data"', '"data2"').replace("mean: 2", "mean: -1")
    return parse_text(
        HEAD + data + tower + other.replace("name= ", "name: ").replace('"data"', '"data2"'), pb.NetParameter()
    )


@pytest.mark.parametrize("bias", ['param { name: "b" }', "", "none"], ids=["shared bias", "own biases", "no bias"])
@pytest.mark.parametrize("form", ["merged", "split"])
def test_layers_that_share_weights_fold_alike(form: str, bias: str) -> None:
    net = siamese(form, bias=bias.replace("none", ""))
    for layer in net.layer:
        if layer.type == "Convolution" and bias == "none":
            layer.convolution_param.bias_term = False
    old = trained(net)
    for name in ("conv1", "scale1"):  # `trained` moved the last blob of the first tower alone
        if len(old.arrays.get(name, [])) > 1 and not (name == "conv1" and not bias):
            old.arrays[f"{name}_p"] = old.arrays[name]
        elif name == "conv1" and bias == "none":
            old.arrays["conv1"] = old.arrays["conv1_p"]
    new, done, left = fold(old)
    assert (done, left) == ([("bn1", "conv1"), ("bn1_p", "conv1_p")], [])
    assert not {"BatchNorm", "BN", "Scale"} & {layer.type for layer in new.net.layer}
    np.testing.assert_array_equal(new.arrays["conv1"][0], new.arrays["conv1_p"][0])
    assert np.array_equal(new.arrays["conv1"][1], new.arrays["conv1_p"][1]) == (bias != "")
    assert largest(old, new, (TEST,)) < 1e-5


@pytest.mark.parametrize(
    ("second", "shared", "why"),
    [
        ("eps: 0.01>eps: 0.1", True, 'shared with "conv1_p", whose normalisation "bn1_p" differs'),
        ("", False, 'shared with "conv1_p", whose normalisation "bn1_p" differs'),
        ('"BatchNorm">"BatchNorm" phase: TRAIN', True, '"bn1_p" stays: it normalises by the batch in TEST too'),
        ('"BatchNorm">"BatchNorm" include { phase: TRAIN }', True, '"bn1_p" stays: it and "conv1_p" are not present'),
    ],
)
def test_layers_that_share_weights_and_would_not_fold_alike_stay(second: str, shared: bool, why: str) -> None:
    old = trained(siamese("split", second, shared=shared))
    for name in ("conv1", "scale1"):
        old.arrays[f"{name}_p"] = old.arrays[name]
    new, done, left = fold(old)
    assert done == []
    assert [name for name, _ in left] == ["bn1", "bn1_p"]
    assert why in left[0][1]
    assert new.net == old.net


def test_of_layers_that_share_weights_all_or_none_are_folded() -> None:
    old = trained(siamese("merged"))
    old.arrays["conv1_p"] = old.arrays["conv1"]
    _, done, left = fold(old, ["bn1"])
    assert done == []
    assert left == [
        ("bn1", 'the weights of "conv1" are shared with "conv1_p", whose normalisation "bn1_p" stays'),
    ]


IN_TWO_PHASES = (
    HEAD
    + "".join(
        f"""layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" include {{ phase: {phase} }}
          convolution_param {{ num_output: 6 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
        layer {{ name: "bn_{phase}" type: "BatchNorm" bottom: "conv1" top: "bn1" include {{ phase: {phase} }} }}
        """
        for phase in ("TRAIN", "TEST")
    )
    + TAIL.replace("NAME", "bn1")
)


@pytest.mark.parametrize("alike", [True, False])
def test_layers_of_one_name_in_two_phases_share_weights(alike: bool) -> None:
    """They were folded twice, once for each of their normalisations."""
    old = trained(parse_text(IN_TWO_PHASES, pb.NetParameter()))
    mean, variance, factor = old.arrays["bn_TEST"] = old.arrays["bn_TRAIN"]
    if not alike:
        old.arrays["bn_TEST"] = [mean, 2 * variance, factor]
    new, done, left = fold(old)
    if alike:
        assert (done, left) == ([("bn_TRAIN", "conv1"), ("bn_TEST", "conv1")], [])
    else:
        assert done == []
        assert left[0][1] == (
            'the weights of "conv1" are shared with another layer of this name, whose normalisation "bn_TEST" differs'
        )
    assert largest(old, new, (TEST,)) < 1e-5


def test_a_name_of_weights_that_no_other_layer_has_shares_nothing() -> None:
    check(trained(parse_text(NAMED + SPLIT + TAIL.replace("NAME", "s1"), pb.NetParameter())))


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_a_phase_of_a_layer_is_how_it_runs_and_not_where_it_is(phase: str) -> None:
    """As in Caffe, whose .caffemodel files have the field in every layer."""
    conv = HEAD + CONV.replace('"Convolution"', f'"Convolution" phase: {phase}')
    check(trained(parse_text(conv + SPLIT + TAIL.replace("NAME", "s1"), pb.NetParameter())))
    if phase == "TEST":
        norm = SPLIT.replace('"BatchNorm"', f'"BatchNorm" phase: {phase}')
        check(trained(parse_text(HEAD + CONV + norm + TAIL.replace("NAME", "s1"), pb.NetParameter())))


@pytest.mark.parametrize(("layer", "blob", "value"), [("bn1", 1, -9), ("bn1", 0, np.nan), ("scale1", 0, np.inf)])
def test_what_is_no_number_is_not_folded(layer: str, blob: int, value: float) -> None:
    """A net that gives NaN agrees with any other one that does, so a proof would not tell."""
    old = trained(definition("split"))
    old.arrays[layer][blob] = np.full_like(old.arrays[layer][blob], value)
    _, done, left = fold(old)
    assert done == []
    assert left == [("bn1", "with its statistics, scale and shift its outputs are NaN or infinite")]


@pytest.mark.parametrize(
    ("layer", "blob", "size", "message"),
    [
        ("bn1", 0, 5, 'layer "bn1" .*differ in their number of channels: their sizes are 5, 6, 1, 6, 6'),
        ("bn1", 2, 0, 'layer "bn1" .*their sizes are 6, 6, 0, 6, 6'),
        ("scale1", 1, 1, 'layer "bn1" .*their sizes are 6, 6, 1, 6, 1'),
        ("conv1", 1, 3, r'layer "conv1" .*has 6 outputs, its weights are of other sizes: \(6, 2, 3, 3\), \(3,\)'),
        ("conv1", 0, 10, r'layer "conv1" .*has 6 outputs, its weights are of other sizes: \(10,\), \(6,\)'),
    ],
)
def test_weights_of_other_sizes(layer: str, blob: int, size: int, message: str) -> None:
    old = trained(definition("split"))
    old.arrays[layer][blob] = np.resize(old.arrays[layer][blob], size)
    with pytest.raises(WeightsError, match=message):
        fold(old)
    if layer != "conv1":
        for operation in (merge, show):
            with pytest.raises(WeightsError, match=message):
                operation(old)


def test_weights_of_other_layers() -> None:
    old = trained(definition("split"))
    del old.arrays["conv1"][1]
    with pytest.raises(WeightsError, match=r'layer "conv1" .*its weights have 1 blob, expected 2'):
        fold(old)
    old = trained(definition("split"))
    old.arrays |= {name: [np.resize(a, 5 if a.size > 1 else 1) for a in old.arrays[name]] for name in ("bn1", "scale1")}
    with pytest.raises(WeightsError, match=r'layer "conv1" .*has 6 outputs, its normalisation 5 channels'):
        fold(old)


def test_the_formula_with_numbers() -> None:
    old = trained(definition("split"))
    gamma, beta = old.arrays["scale1"]
    mean, variance, factor = old.arrays["bn1"]
    s = gamma / np.sqrt(variance / factor + 0.01)
    new, _, _ = fold(old)
    weight, bias = new.arrays["conv1"]
    np.testing.assert_allclose(weight, old.arrays["conv1"][0] * s[:, None, None, None], rtol=1e-5)
    np.testing.assert_allclose(bias, s * (old.arrays["conv1"][1] - mean / factor) + beta, rtol=1e-4, atol=1e-5)


def test_weights_are_needed() -> None:
    with pytest.raises(UsageError, match="needs the weights"):
        fold(Model(definition("split")))


def test_graphs_and_statistics_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a chain of normalised layers, and of two that share their weights."""
    conv = 'convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } }'
    text, bottom = HEAD, "data"
    for k in range(8):
        shared = 'param { name: "w" } param { name: "v" }' * (k < 2)
        text += f'layer {{ name: "c{k}" type: "Convolution" bottom: "{bottom}" top: "c{k}" {shared} {conv} }}\n'
        text += f'layer {{ name: "b{k}" type: "BN" bottom: "c{k}" top: "c{k}" }}\n'
        bottom = f"c{k}"
    model = trained(parse_text(text, pb.NetParameter()))
    model.arrays["b1"] = model.arrays["b0"]
    read: list[str] = []
    built: list[int] = []
    statistics, init = Normalisation.statistics, PhaseGraphs.__init__

    def count_statistics(self: Normalisation, arrays: Any) -> Any:
        read.append(self.layer.name)
        return statistics(self, arrays)

    def count_graphs(self: PhaseGraphs, *args: Any) -> None:
        built.append(1)
        init(self, *args)

    monkeypatch.setattr(Normalisation, "statistics", count_statistics)
    monkeypatch.setattr(PhaseGraphs, "__init__", count_graphs)
    _, done, left = fold(model)
    assert (len(done), left) == (8, [])
    assert sorted(read) == [f"b{k}" for k in range(8)]
    assert len(built) <= 3
