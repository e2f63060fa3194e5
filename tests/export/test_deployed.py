"""What is left of a net for deployment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, find_class
from dragon.errors import DataError, UsageError
from dragon.export.deployed import Deployed, deploy, read_deployed
from dragon.export.onnx.forms import reasons
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from dragon.proto.text import parse_text

MODELS = Path(__file__).parents[2] / "models"
SHAPE = (2, 3, 8, 8)
CONV = (
    'layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" convolution_param {{ num_output: 4 {2} }} }}\n'
)
KERNEL = 'kernel_size: 3 weight_filler { type: "msra" }'
DATA = 'layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "gone" batch_size: 2 } }\n'


def made(text: str, shape: tuple[int, ...] | None = SHAPE) -> Deployed:
    return deploy(Definition(parse_text(text, pb.NetParameter())), shape)


def layers(text: str) -> list[tuple[str, str]]:
    return [(layer.name, layer.type) for layer in made(text).definition.message.layer]


def test_losses_go_and_what_they_scored_is_an_output() -> None:
    text = (
        DATA
        + CONV.format("conv", "data", KERNEL)
        + """
        layer { name: "acc" type: "Accuracy" bottom: "conv" bottom: "label" top: "acc" }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }
        layer { name: "half" type: "Power" bottom: "loss" top: "half" power_param { scale: 0.5 } }"""
    )
    found = made(text)
    assert layers(text) == [("data", "Input"), ("conv", "Convolution")]
    assert list(found.data) == ["data"]
    assert [note.split(" (")[0] for note in found.notes] == ["left out: acc", "left out: loss", "left out: half"]
    with found.net() as net:
        assert (net.inputs, net.outputs) == (["data"], ["conv"])
        assert net.blobs["data"].shape == SHAPE


def test_an_input_that_no_layer_reads_is_named() -> None:
    info = 'layer { name: "info" type: "Input" top: "im_info" input_param { shape { dim: 1 dim: 3 } } }'
    assert made(DATA + info + CONV.format("conv", "data", KERNEL)).notes == [
        "left out: info (Input), which no layer reads"
    ]


def test_probabilities_of_a_loss_are_made_by_a_softmax() -> None:
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" top: "prob" }'
    for kind in ("SoftmaxWithLoss", "FocalLoss"):
        text = DATA + CONV.format("conv", "data", KERNEL) + loss.replace("SoftmaxWithLoss", kind)
        assert layers(text)[-1] == ("loss", "Softmax")


def test_what_only_labels_need_goes_too() -> None:
    text = (
        DATA
        + CONV.format("conv", "data", KERNEL)
        + """
        layer { name: "half" type: "Power" bottom: "label" top: "half" power_param { scale: 0.5 } }
        layer { name: "flat" type: "Flatten" bottom: "conv" top: "flat" }
        layer { name: "loss" type: "EuclideanLoss" bottom: "flat" bottom: "half" top: "loss" }"""
    )
    assert [name for name, _ in layers(text)] == ["data", "conv", "flat"]


def test_a_silenced_blob_is_no_output() -> None:
    text = DATA + CONV.format("a", "data", KERNEL) + CONV.format("b", "data", KERNEL)
    text += 'layer { name: "quiet" type: "Silence" bottom: "b" bottom: "label" }'
    assert [name for name, _ in layers(text)] == ["data", "a"]


def test_a_product_with_a_margin_goes_and_its_features_are_an_output() -> None:
    text = (
        DATA
        + CONV.format("conv", "data", KERNEL)
        + """
        layer { name: "m" type: "MarginInnerProduct" bottom: "conv" bottom: "label" top: "m"
          margin_inner_product_param { num_output: 5 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "m" bottom: "label" top: "loss" }"""
    )
    assert [name for name, _ in layers(text)] == ["data", "conv"]


def test_in_place_layers_stay_behind_what_they_change() -> None:
    text = DATA + CONV.format("conv", "data", KERNEL)
    text += 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }\n'
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }'
    assert [name for name, _ in layers(text)] == ["data", "conv", "relu"]


def test_the_shape_of_an_input_can_be_changed() -> None:
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }\n'
    with made(text + CONV.format("conv", "x", KERNEL)).net() as net:
        assert net.blobs["conv"].shape == (2, 4, 6, 6)


def test_data_that_is_not_there_asks_for_a_shape() -> None:
    with pytest.raises(DataError, match="--shape N,C,H,W"):
        made(DATA + CONV.format("conv", "data", KERNEL), None)


def test_nothing_left() -> None:
    with pytest.raises(UsageError, match="nothing of the net is left"):
        made(DATA + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "data" bottom: "label" top: "loss" }')


def test_folding_keeps_what_the_net_computes() -> None:
    path = MODELS / "cifar10_quick_bn_split/deploy.prototxt"
    x = np.random.default_rng(1).standard_normal((1, 3, 32, 32))
    with Net(str(path), phase=TEST, engine="numpy", seed=1) as plain:
        expected = plain.forward(data=x)["prob"]
    deployed = read_deployed(path)
    with deployed.folded(seed=1) as net:
        assert not [layer.type for layer in net.layers if layer.type in ("BatchNorm", "Scale")]
        np.testing.assert_allclose(net.forward(data=x)["prob"], expected, rtol=1e-4, atol=1e-6)
    assert [note.split()[0] for note in deployed.notes] == ["folded"] * 3


def test_layers_that_only_score_or_store_are_left_out() -> None:
    """Those of which forms for ONNX say so, and those that are added."""
    said = [name for name, why in reasons().items() if why.endswith("and is left out")]
    assert len(said) > 20
    text = DATA + CONV.format("conv", "data", KERNEL)
    for name in said:
        kept = {layer.type for layer in made(text + scoring(name)).definition.message.layer}
        assert kept == {"Input", "Convolution"}, name


def scoring(name: str) -> str:
    """A layer of a type, of as many bottoms and tops as it may have."""
    bottoms = ["conv", *["label"] * (max(2, find_class(name).bottoms[0]) - 1)]  # type: ignore[union-attr]
    tops = ["score"] * bool(find_class(name).tops[1] != 0)  # type: ignore[union-attr]
    ends = [f'bottom: "{one}"' for one in bottoms] + [f'top: "{one}"' for one in tops]
    return f'layer {{ name: "score" type: "{name}" {" ".join(ends)} }}'
