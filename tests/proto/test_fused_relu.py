"""Intel Caffe's ReLU inside another layer is read as a ReLU layer in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text, read_net_definition
from dragon.proto.upgrade import needs_upgrade, upgrade_net

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }'
LAYERS = {
    "Convolution": "convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'xavier' } %s }",
    "Deconvolution": "convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: 'xavier' } %s }",
    "InnerProduct": "inner_product_param { num_output: 4 weight_filler { type: 'xavier' } %s }",
    "BatchNorm": "batch_norm_param { %s }",
}


def net_of(kind: str, settings: str, more: str = "") -> pb.NetParameter:
    layer = f'layer {{ name: "y" type: "{kind}" bottom: "x" top: "y" {LAYERS[kind] % settings} }}'
    return parse_text(INPUT + layer + more, pb.NetParameter())


def values(net: pb.NetParameter, engine: str) -> list[np.ndarray]:
    """The last blob, and the gradients of the input and the weights, for a fixed gradient."""
    with dragon.Net(net, phase=dragon.TRAIN, engine=engine, seed=5) as made:
        rng = np.random.default_rng(2)
        made.blobs["x"].data[...] = rng.standard_normal((2, 3, 5, 4))
        made.forward()
        top = made.blobs["y"]
        out = top.data.copy()
        top.diff[...] = rng.standard_normal(top.shape)
        made.backward()
        grads = [p.diff.copy() for blobs in made.params.values() for p in blobs]
        return [out, made.blobs["x"].diff.copy(), *grads]


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("slope", ["", " negative_slope: 0.25"])
@pytest.mark.parametrize("kind", LAYERS)
def test_it_computes_what_a_relu_behind_the_layer_does(kind: str, slope: str, engine: str) -> None:
    if kind == "BatchNorm" and slope:
        return  # has no slope
    fused = net_of(kind, f"relu: true{slope}")
    relu = f'layer {{ name: "r" type: "ReLU" bottom: "y" top: "y" relu_param {{ {slope} }} }}'
    plain = net_of(kind, "", relu)
    for net in (fused, plain):
        net.force_backward = True
    got, wanted, without = values(fused, engine), values(plain, engine), values(net_of(kind, ""), engine)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(got[0], without[0])


def test_the_new_layer() -> None:
    more = """layer { name: "y_relu" type: "Sigmoid" bottom: "y" top: "z" }"""
    net = net_of("Convolution", "relu: true negative_slope: 0.5", more)
    net.layer[1].include.add(phase=pb.TEST)
    assert needs_upgrade(net)
    new = upgrade_net(net)
    assert not needs_upgrade(new)
    assert [(x.name, x.type) for x in new.layer] == [
        ("x", "Input"), ("y", "Convolution"), ("y_relu_", "ReLU"), ("y_relu", "Sigmoid")
    ]  # fmt: skip
    relu = new.layer[2]
    assert (list(relu.bottom), list(relu.top)) == (["y"], ["y"])
    assert list(relu.include) == [pb.NetStateRule(phase=pb.TEST)]
    assert relu.relu_param.negative_slope == 0.5
    assert not new.layer[1].convolution_param.HasField("relu")


def test_false_and_a_slope_alone_add_nothing() -> None:
    new = upgrade_net(net_of("Convolution", "relu: false negative_slope: 0.5"))
    assert [x.type for x in new.layer] == ["Input", "Convolution"]


def test_each_top_has_its_relu() -> None:
    net = net_of("Convolution", "relu: true")
    net.layer[1].bottom.append("x")
    net.layer[1].top.append("z")
    assert [list(x.top) for x in upgrade_net(net).layer[2:]] == [["y"], ["z"]]


def test_lines_stay_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "x" type: "Input" top: "x" }\n'
        'layer { name: "y" type: "Convolution" bottom: "x" top: "y" convolution_param { relu: true } }\n'
        'layer { name: "z" type: "TanH" bottom: "y" top: "z" }\n'
    )
    assert list(read_net_definition(path).lines) == [1, 2, 2, 3]
