"""A layer for TRAIN and one for TEST under one name, as many nets write batch normalisation: one set of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import NumericError, UsageError
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text
from dragon.surgery.fold import fold
from dragon.surgery.lint import lint
from dragon.surgery.merge import merge, split
from dragon.surgery.model import Model, read_model, write_model
from dragon.surgery.normalisations import find_normalisations
from dragon.surgery.operations import apply
from dragon.surgery.prove import prove
from dragon.surgery.recalibrate import recalibrate
from tests.surgery.helpers import CONV, HEAD, TAIL, largest, trained

BARE = CONV.replace("num_output: 6", "num_output: 6 bias_term: false")
NORM = """layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "TOP" include { phase: TRAIN }
  batch_norm_param { use_global_stats: false moving_average_fraction: 0.8 } }
layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "TOP" include { phase: TEST }
  batch_norm_param { use_global_stats: true moving_average_fraction: 0.8 } }
"""
SCALE = """layer { name: "scale1" type: "Scale" bottom: "TOP" top: "s1" param { lr_mult: 2 } param { lr_mult: 3 } RULE
  scale_param { bias_term: true filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "uniform" } } }
"""
EACH = SCALE.replace("RULE", "include { phase: TRAIN }") + SCALE.replace("RULE", "include { phase: TEST }")
ONE = SCALE.replace("RULE", "")
BN = 'batch_norm_param { scale_filler { type: "uniform" min: 0.5 max: 2 } bias_filler { type: "uniform" } '
SPLIT = {
    "one Scale": (NORM + ONE).replace("TOP", "bn1"),
    "a Scale each": (NORM + EACH).replace("TOP", "bn1"),
    "in place": (NORM + ONE).replace("TOP", "conv1").replace('top: "s1"', 'top: "conv1"'),
    "in place, a Scale each": (NORM + EACH).replace("TOP", "conv1").replace('top: "s1"', 'top: "conv1"'),
    "exclude": (NORM + ONE).replace("TOP", "bn1").replace("include { phase: TRAIN }", "exclude { phase: TEST }"),
    "TEST first": ("layer".join(["", *reversed(NORM.split("layer")[1:])]) + ONE).replace("TOP", "bn1"),
    "one for both, a Scale each": ('layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" }' + EACH).replace(
        "TOP", "bn1"
    ),
}
MERGED = {
    "merged": f"""layer {{ name: "bn1" type: "BN" bottom: "conv1" top: "s1" include {{ phase: TRAIN }} {BN} }} }}
        layer {{ name: "bn1" type: "BN" bottom: "conv1" top: "s1" include {{ phase: TEST }} {BN} }} }}""",
    "scale_bias": f"""
        layer {{ name: "bn1" type: "BatchNorm" bottom: "conv1" top: "s1" include {{ phase: TRAIN }} {BN} }} }}
        layer {{ name: "bn1" type: "BatchNorm" bottom: "conv1" top: "s1" include {{ phase: TEST }} {BN}
        use_global_stats: true }} }}""",
}
FORMS = {**SPLIT, **MERGED}


def definition(form: str, conv: str = CONV) -> pb.NetParameter:
    last = "conv1" if form.startswith("in place") else "s1"
    return parse_text(HEAD + conv + FORMS[form] + TAIL.replace("NAME", last), pb.NetParameter())


def types(model: Model) -> list[str]:
    return [layer.type for layer in model.net.layer][2:-3]


@pytest.mark.parametrize("form", [*SPLIT, "scale_bias"])
def test_merge(form: str) -> None:
    old = trained(definition(form))
    new, names = merge(old)
    assert names == ["bn1"]
    assert set(types(new)) == {"BN"}
    assert len(types(new)) == (1 if form.startswith("one for both") else 2)
    assert set(new.arrays) == {"conv1", "bn1", "ip"}
    assert largest(old, new, (TEST, TRAIN)) < 1e-6


def test_the_proof_looks_at_the_running_statistics_of_a_pair() -> None:
    """The layer of TRAIN has use_global_stats: false, and is tested by running statistics all the same."""
    old = trained(definition("a Scale each"))
    new, _ = merge(old)
    for layer in new.net.layer[2:4]:
        layer.batch_norm_param.moving_average_fraction = 0.5
    with pytest.raises(NumericError, match="in TEST after TRAIN"):
        prove(old, new, (TRAIN,))


@pytest.mark.parametrize("form", MERGED)
def test_split(form: str) -> None:
    old = trained(definition(form))
    new, names = split(old)
    assert names == ["bn1"]
    assert types(new) == ["BatchNorm", "Scale"] * 2
    assert {layer.name for layer in new.net.layer if layer.type == "Scale"} == {"scale1"}
    assert largest(old, new, (TEST, TRAIN)) < 1e-6


@pytest.mark.parametrize("form", SPLIT)
def test_there_and_back(form: str) -> None:
    old = trained(definition(form))
    back, _ = split(merge(old)[0])
    for name, arrays in old.arrays.items():
        for a, b in zip(arrays, back.arrays[name], strict=True):
            np.testing.assert_array_equal(a, b)
    assert largest(old, back, (TEST, TRAIN)) < 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_fold(form: str) -> None:
    old = trained(definition(form))
    new, done, left = fold(old)
    assert (done, left) == ([("bn1", "conv1")], [])
    assert types(new) == []
    assert largest(old, new, (TEST,)) < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_lint_is_content(form: str) -> None:
    net = definition(form, BARE)
    assert [str(f) for f in lint(Definition(net, "n", tuple(range(len(net.layer)))))] == []


def test_lint_says_once_what_is_wrong_with_a_pair() -> None:
    net = definition("one Scale")
    found = [(f.layer, f.rule) for f in lint(Definition(net, "n", tuple(range(len(net.layer)))))]
    assert found == [("conv1", "bias-before-bn")]
    alone = parse_text(HEAD + BARE + NORM.replace("TOP", "s1") + TAIL.replace("NAME", "s1"), pb.NetParameter())
    found = [(f.layer, f.rule) for f in lint(Definition(alone, "n", tuple(range(len(alone.layer)))))]
    assert found == [("bn1", "scale-missing")] * 2, "one for each layer"


@pytest.mark.parametrize("form", FORMS)
def test_recalibrate(form: str, tmp_path: Path) -> None:
    """What the layer of TRAIN is given is what the layer of TEST reads."""
    net = Net(definition(form), TRAIN, engine="numpy", seed=1)
    assert [c.layer for c in recalibrate(net, 4)] == ["bn1"]
    net.save(str(tmp_path / "n.caffemodel"))
    test = Net(definition(form), str(tmp_path / "n.caffemodel"), TEST, engine="numpy", seed=1)
    means = [layer.running()[0] for layer in (net.layer_dict["bn1"], test.layer_dict["bn1"])]  # type: ignore[attr-defined]
    np.testing.assert_allclose(means[0], means[1], rtol=1e-6)
    assert np.abs(means[0]).min() > 0


def test_files(tmp_path: Path) -> None:
    """The weights of a pair are written so that a net of either phase reads them."""
    model = merge(trained(definition("a Scale each")))[0]
    write_model(model, tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    again = read_model(tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    assert largest(model, again, (TEST, TRAIN)) == 0


OTHER_NAME = SPLIT["a Scale each"].replace('"scale1"', '"scale2"', 1)
OTHER_SETTINGS = SPLIT["a Scale each"].replace("bias_term: true", "bias_term: false", 1)


@pytest.mark.parametrize("text", [OTHER_NAME, OTHER_SETTINGS])
def test_scales_that_are_not_one_layer_stay(text: str) -> None:
    net = parse_text(HEAD + CONV + text + TAIL.replace("NAME", "s1"), pb.NetParameter())
    assert [n.scales for n in find_normalisations(net)] == [(), ()]
    with pytest.raises(UsageError, match="nothing to merge"):
        merge(Model(net))


def test_a_scale_that_reads_something_else_in_test_stays() -> None:
    """A normalisation for TRAIN alone, in place: in TEST the Scale reads the convolution."""
    text = "layer" + SPLIT["in place"].split("layer")[1] + "layer" + SPLIT["in place"].split("layer")[3]
    net = parse_text(HEAD + CONV + text + TAIL.replace("NAME", "conv1"), pb.NetParameter())
    assert [n.scales for n in find_normalisations(net)] == [()]
    _, done, left = fold(trained(net))
    assert done == []
    assert left[0][0] == "bn1"
    assert "not present in the same phases" in left[0][1]


def test_statistics_of_the_batch_in_test_cannot_be_folded() -> None:
    net = definition("one Scale")
    net.layer[3].batch_norm_param.use_global_stats = False
    _, done, left = fold(trained(net))
    assert (done, left) == ([], [("bn1", "it normalises by the batch in TEST too")])


def two_convolutions(test_norm: str) -> Model:
    """A convolution for each phase under one name, each with a normalisation of its own; with weights."""
    text = HEAD
    for phase, norm in (("TRAIN", "bn1"), ("TEST", test_norm)):
        layer = f'layer {{ name: "{norm}" type: "BN" bottom: "conv1" top: "conv1" }}\n' if norm else ""
        text += (CONV + layer).replace('top: "conv1"', f'top: "conv1" include {{ phase: {phase} }}')
    model = trained(parse_text(text, pb.NetParameter()))
    if test_norm:
        model.arrays[test_norm] = [array + 0.5 for array in model.arrays["bn1"]]
    return model


def test_a_bias_that_one_of_two_phases_needs_stays() -> None:
    old = two_convolutions("")
    new = apply(old, "remove_bias_before_bn")
    assert new.net == old.net
    assert len(new.arrays["conv1"]) == 2


def test_a_bias_is_taken_off_the_means_of_both_phases() -> None:
    old = two_convolutions("bn2")
    old.arrays["conv1"][1] = np.arange(6, dtype=np.float32)
    new = apply(old, "remove_bias_before_bn")
    assert len(new.arrays["conv1"]) == 1
    assert largest(old, new, (TEST, TRAIN)) < 1e-5
