"""Nets as BVLC Caffe reads them: the same outputs, and nothing that it does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import NumericError, PrototxtError, WeightsError
from dragon.export.caffe.convert import bottom_shapes, to_caffe
from dragon.export.caffe.known import TYPES, foreign_fields
from dragon.export.caffe.replace import replaced
from dragon.export.caffe.write import CaffeNet, compare, deploy_net, whole_net
from dragon.export.deployed import read_deployed
from dragon.files.stored_weights import write_arrays
from dragon.graph.net import Net
from dragon.proto import caffe_pb2
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import format_text, parse_text
from dragon.surgery.model import Model, read_model
from tests.layers.catalogue import CASES

HEAD = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 3 dim: 4 dim: 6 dim: 6 } } }
"""
CONV = 'convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } }'
CONV_LAYER = f'layer {{ name: "conv" type: "Convolution" bottom: "x" top: "conv" {CONV} }}'
NET = (
    HEAD
    + f"""
layer {{ name: "dw" type: "DepthwiseConvolution" bottom: "x" top: "dw" {CONV} }}
layer {{ name: "bn" type: "SyncBN" bottom: "dw" top: "dw" }}
layer {{ name: "r6" type: "ReLU6" bottom: "dw" top: "dw" }}
layer {{ name: "drop" type: "Dropout" bottom: "dw" top: "drop" }}
layer {{ name: "hs" type: "HardSwish" bottom: "drop" top: "hs" }}
layer {{ name: "norm" type: "BN" bottom: "hs" top: "norm" batch_norm_param {{ average: CUMULATIVE }} }}
layer {{ name: "relu" type: "ReLU" bottom: "norm" top: "relu" }}
layer {{ name: "add" type: "Add" bottom: "relu" bottom: "hs" top: "add" }}
layer {{ name: "last" type: "Dropout" bottom: "add" top: "y" }}
"""
)


def with_random_weights(folder: Path, text: str) -> tuple[Path, Path]:
    """The prototxt and a file of weights."""
    model, weights = folder / "net.prototxt", folder / "net.caffemodel"
    model.write_text(text)
    with Net(model, phase=TEST, engine="numpy", seed=3) as net:
        rng = np.random.default_rng(1)
        arrays = {n: [rng.uniform(0.5, 2, b.shape).astype(np.float32) for b in bs] for n, bs in net.params.items()}
        write_arrays(weights, net.param, arrays)
    return model, weights


def types(net: CaffeNet) -> list[str]:
    return [layer.type for layer in net.model.net.layer]


def outputs(model: Model, x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> dict[str, Any]:
    with Net(model.net, phase=TEST, engine="numpy", seed=1) as net:
        for name, values in model.arrays.items():
            for blob, value in zip(net.params[name], values, strict=True):
                blob.data[...] = value.reshape(blob.shape)
        net.blobs["x"].data[...] = x
        return {name: value.copy() for name, value in net.forward().items()}


def test_the_whole_net(tmp_path: Path) -> None:
    text = NET.replace("average: CUMULATIVE", "average: LATEST")
    model, weights = with_random_weights(tmp_path, text)
    made = whole_net(read_model(model, weights), read_deployed(model))
    assert made.outputs == ["y"]
    assert made.difference < 1e-5
    assert types(made) == [
        "Input", "Convolution", "BatchNorm", "Scale", "Clip", "Dropout", "Power", "Clip", "Eltwise", "BatchNorm",
        "Scale", "ReLU", "Eltwise", "Dropout",
    ]  # fmt: skip
    assert not [name for layer in made.model.net.layer for name in foreign_fields(layer)]
    x = np.random.default_rng(2).normal(size=(3, 4, 6, 6)).astype(np.float32)
    expected, found = (outputs(one, x) for one in (read_model(model, weights), made.model))
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-4, atol=1e-5)


def test_for_deployment(tmp_path: Path) -> None:
    model, weights = with_random_weights(tmp_path, NET.replace("average: CUMULATIVE", ""))
    made = deploy_net(read_deployed(model), str(weights))
    assert made.outputs == ["y"]
    assert types(made) == [
        "Input",
        "Convolution",
        "Clip",
        "Power",
        "Clip",
        "Eltwise",
        "BatchNorm",
        "Scale",
        "ReLU",
        "Eltwise",
    ]
    relu = next(layer for layer in made.model.net.layer if layer.type == "ReLU")
    assert (relu.bottom[0], relu.top[0]) == ("norm", "norm")
    assert "filler" not in format_text(made.model.net)
    assert {"folded bn into dw", "left out: drop, which copies in TEST"} <= set(made.notes)
    x = np.random.default_rng(2).normal(size=(3, 4, 6, 6)).astype(np.float32)
    expected, found = (outputs(one, x) for one in (read_model(model, weights), made.model))
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("views", "in_place"),
    [
        ('layer { name: "s" type: "Split" bottom: "conv" top: "a" top: "b" }', False),
        ('layer { name: "f" type: "Flatten" bottom: "conv" top: "a" } layer { name: "b" type: "AbsVal" bottom: "conv" '
         'top: "b" }', False),
        ('layer { name: "f" type: "Flatten" bottom: "conv" top: "a" } layer { name: "b" type: "AbsVal" bottom: "x" '
         'top: "b" }', True),
    ],
)  # fmt: skip
def test_memory_that_others_read_is_not_worked_in(tmp_path: Path, views: str, in_place: bool) -> None:
    ends = "".join(f'layer {{ name: "{name}2" type: "TanH" bottom: "{name}" top: "{name}2" }}\n' for name in "ab")
    sums = "".join(f'layer {{ name: "{name}3" type: "Reduction" bottom: "{name}2" top: "{name}3" }}\n' for name in "ab")
    model, weights = with_random_weights(tmp_path, HEAD + CONV_LAYER + views + ends + sums)
    made = deploy_net(read_deployed(model), str(weights))
    assert made.outputs == ["a3", "b3"]
    assert ("a2" in " ".join(note for note in made.notes if note.startswith("in place"))) == in_place


def test_weights_with_another_number_of_blobs_are_refused(tmp_path: Path) -> None:
    model, weights = with_random_weights(tmp_path, HEAD + CONV_LAYER)
    whole = read_model(model, weights)
    for blobs in (whole.arrays["conv"][:1], [*whole.arrays["conv"], whole.arrays["conv"][1]]):
        wrong = Model(whole.net, {"conv": blobs})
        with pytest.raises(WeightsError, match=rf'layer "conv" .Convolution.: its weights have {len(blobs)} blobs?'):
            whole_net(wrong, read_deployed(model))


def test_layers_without_weights_are_named(tmp_path: Path) -> None:
    model, weights = with_random_weights(tmp_path, HEAD + CONV_LAYER + CONV_LAYER.replace('"conv"', '"other"'))
    whole = read_model(model, weights)
    del whole.arrays["other"]
    assert "no weights for other: the file for Caffe has none either" in whole_net(whole, read_deployed(model)).notes


def test_other_averages_keep_their_statistics(tmp_path: Path) -> None:
    model, weights = with_random_weights(tmp_path, NET)
    made = whole_net(read_model(model, weights), read_deployed(model))
    assert made.difference < 1e-5
    assert made.model.arrays["norm"][2] == 1
    assert "norm: in training its running average follows Caffe's rule" in made.notes


def test_all_that_has_no_meaning_is_named_at_once() -> None:
    text = (
        HEAD
        + """
layer { name: "p" type: "Permute" bottom: "x" top: "p" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "c" type: "Convolution" bottom: "p" top: "c"
        convolution_param { num_output: 1 kernel_size: 1 pad_l: 1 } }
layer { name: "n" type: "GroupNorm" bottom: "c" top: "n" group_norm_param { num_groups: 1 } }
layer { name: "a" type: "Pooling" bottom: "n" top: "a" pooling_param { pool: AVE_EXC_PAD kernel_size: 2 pad: 1 } }
"""
    )
    with pytest.raises(PrototxtError) as caught:
        to_caffe(Model(parse_text(text, pb.NetParameter())), {})
    message = str(caught.value)
    for part in (
        'layer "p" (Permute) is not one of its types',
        'layer "c" (Convolution) has convolution_param.pad_l',
        'layer "n" (GroupNorm) is not one of its types',
        'layer "a" (Pooling) has pooling_param.pool: AVE_EXC_PAD',
        "replace them by layers that it has, or leave them out",
    ):
        assert part in message
    assert "\n" not in message


def test_nets_that_differ_are_noticed() -> None:
    text = HEAD + 'layer { name: "s" type: "Power" bottom: "x" top: "y" power_param { scale: %s } }'
    one, other = (Net(parse_text(text % scale, pb.NetParameter()), phase=TEST, engine="numpy") for scale in (1, 1.01))
    with one, other, pytest.raises(NumericError, match='the nets differ: output "y"'):
        compare(one, other)


# whose replacements need the shapes or the settings
ASKED = """
Add Axpy ContinuationIndicator Convolution ConvolutionDepthwise DepthwiseConvolution HardSigmoid HardSwish Mish Mul
Pooling ReLU ReLU6 SeLU Squeeze Upsample
"""
REPLACED = [name for name, case in CASES.items() if case.kind in ASKED.split() and case.tops == 1]


def test_values_that_are_not_finite_in_both_nets_agree() -> None:
    text = HEAD + 'layer { name: "power" type: "Power" bottom: "x" top: "y" power_param { scale: SCALE power: 0.5 } }'
    scales = ("1", "1", "0")  # roots of noise are NaN
    nets = (parse_text(text.replace("SCALE", scale), pb.NetParameter()) for scale in scales)
    old, same, other = (Net(one, phase=TEST, engine="numpy") for one in nets)
    assert compare(old, same) == (0.0, ["y"])
    with pytest.raises(NumericError, match='output "y" has NaN or infinity in only one of them'):
        compare(old, other)


def test_an_input_that_layers_change_in_place_is_compared() -> None:
    text = HEAD + 'layer { name: "power" type: "Power" bottom: "x" top: "x" power_param { scale: 2 } }'
    nets = [parse_text(one, pb.NetParameter()) for one in (text, text, text.replace("scale: 2", "scale: 3"))]
    old, same, other = (Net(one, phase=TEST, engine="numpy") for one in nets)
    assert compare(old, same) == (0.0, ["x"])
    with pytest.raises(NumericError, match=r'output "x" by 0\.5 of its largest value'):
        compare(old, other)


@pytest.mark.parametrize("name", REPLACED)
def test_replacements_give_the_same_outputs(name: str) -> None:
    definition = parse_text(CASES[name].text().replace("force_backward: true\n", ""), pb.NetParameter())
    for layer in definition.layer:
        layer.ClearField("propagate_down")
    with Net(definition, phase=TEST, engine="numpy", seed=1) as net:
        arrays = {key: [blob.peek().copy() for blob in blobs] for key, blobs in net.params.items()}
        shapes = bottom_shapes(net)
        known = definition.layer[-1].type in TYPES and not list(foreign_fields(definition.layer[-1]))
        if not known and replaced(definition.layer[-1], shapes["one"]) is None:
            with pytest.raises(PrototxtError, match="BVLC Caffe cannot read the net: "):
                to_caffe(Model(definition, arrays), shapes)
            return
        new, _ = to_caffe(Model(definition, arrays), shapes)
        for layer in new.net.layer:
            assert layer.type in TYPES
        with Net(new.net, phase=TEST, engine="numpy", seed=1) as other:
            for key, values in new.arrays.items():
                for blob, value in zip(other.params[key], values, strict=True):
                    blob.data[...] = value.reshape(blob.shape)
            assert compare(net, other)[0] < 1e-5


def test_the_text_parses_with_caffes_schema(tmp_path: Path) -> None:
    """Each field of the message has the number of BVLC's, which pycaffe's module is checked against."""
    model, weights = with_random_weights(tmp_path, NET.replace("average: CUMULATIVE", ""))
    made = deploy_net(read_deployed(model), str(weights))
    again = caffe_pb2.NetParameter.FromString(made.model.net.SerializeToString())
    assert [layer.type for layer in again.layer] == types(made)


@pytest.mark.parametrize("layer", ['"HardSigmoid"', '"SeLU"', '"ReLU6" relu6_param { negative_slope: 0.5 }'])
def test_replacements_of_a_layer_in_place_work_in_place(layer: str) -> None:
    text = CONV_LAYER + f'layer {{ name: "f" bottom: "conv" top: "conv" type: {layer} }}'
    with Net(parse_text(HEAD + text, pb.NetParameter()), phase=TEST, engine="numpy", seed=1) as net:
        new, _ = to_caffe(Model(net.param), bottom_shapes(net))
        assert {name for one in new.net.layer for name in one.top} == {"x", "conv"}
        with Net(new.net, phase=TEST, engine="numpy", seed=1) as other:
            assert compare(net, other)[0] < 1e-6


INDICATED = """
layer {
  name: "marks" type: "ContinuationIndicator" top: "y" continuation_indicator_param { time_step: 3 batch_size: 2 }
}
"""


def test_constants_in_place_of_a_layer_are_proved(tmp_path: Path) -> None:
    """DummyData is no data here, and its filler nothing that only training reads."""
    model, weights = with_random_weights(tmp_path, HEAD + CONV_LAYER + INDICATED)
    deployed = read_deployed(model)
    assert "DummyData" in types(whole_net(read_model(model, weights), deployed))
    assert "DummyData" in types(deploy_net(deployed, str(weights)))


@pytest.mark.parametrize("with_weights", [True, False])
@pytest.mark.parametrize("kind", ["BN", "BatchNorm"])
def test_layers_of_a_dialect(tmp_path: Path, kind: str, with_weights: bool) -> None:
    profile = "neopenx" if kind == "BN" else "dragon-2016"
    text = HEAD + f'layer {{ name: "bn" type: "{kind}" bottom: "x" top: "y" profile: "{profile}" }}'
    model, weights = with_random_weights(tmp_path, text)
    found = read_model(model, weights if with_weights else None, as_written=True)
    assert types(whole_net(found, read_deployed(model))) == ["Input", "BatchNorm", "Scale"]


def test_a_copy_of_what_later_layers_read_stays(tmp_path: Path) -> None:
    """Its top is an output, whose name the layer before it cannot take."""
    drop = 'layer { name: "drop" type: "Dropout" bottom: "conv" top: "y" }'
    behind = 'layer { name: "r" type: "AbsVal" bottom: "conv" top: "z" }'
    model, weights = with_random_weights(tmp_path, HEAD + CONV_LAYER + drop + behind)
    made = deploy_net(read_deployed(model), str(weights))
    assert sorted(made.outputs) == ["y", "z"]
    assert types(made) == ["Input", "Convolution", "Dropout", "AbsVal"]
