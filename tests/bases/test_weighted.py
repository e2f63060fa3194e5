"""Multiply-adds and the scaling of outputs, for every layer with a weight and a bias."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.bases.layer import TEST
from dragon.bases.registry import find_class, layer_types
from dragon.bases.weighted import Weighted
from dragon.graph.net import Net
from dragon.graph.node import multiply_adds
from dragon.proto import dragon_pb2 as pb

SETTINGS = {
    "inner_product_param": ["", "transpose: true"],
    "convolution_param": ["kernel_size: 3", "kernel_size: 3 stride: 2 group: 2", "kernel_size: 1 bias_term: false"],
}
CASES = [
    (name, settings)
    for name in layer_types()
    if (cls := find_class(name)) is not None and issubclass(cls, Weighted)
    for settings in SETTINGS[cls.settings[0]]
]


def net_with(kind: str, settings: str) -> tuple[Net, Weighted]:
    definition = pb.NetParameter(name="n")
    definition.layer.add(name="x", type="Input", top=["x"]).input_param.shape.add(dim=[2, 4, 5, 6])
    layer = definition.layer.add(name="y", type=kind, bottom=["x"], top=["y"])
    cls = find_class(kind)
    assert cls is not None
    assert issubclass(cls, Weighted)
    message = cls.product_param(layer)
    text_format.Parse(f"num_output: 8 {settings}", message)
    net = Net(definition, TEST, engine="numpy", dtype=np.float64)
    made = net.layers[1]
    assert isinstance(made, Weighted)
    random = np.random.default_rng(0)
    for blob in [*made.blobs, net.blobs["x"]]:
        blob.data[...] = random.standard_normal(blob.shape)
    return net, made


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_scaled_weights_scale_the_outputs(kind: str, settings: str) -> None:
    net, layer = net_with(kind, settings)
    factors = np.arange(1.0, 9.0)
    before = net.forward()["y"].copy()
    layer.weight.data[...] = layer.scale_outputs(layer.param, layer.weight.data, factors)
    if layer.bias is not None:
        layer.bias.data[...] *= factors
    wanted = before * factors.reshape(8, *[1] * (before.ndim - 2))
    np.testing.assert_allclose(net.forward()["y"], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_multiply_adds_are_counted_under_every_name(kind: str, settings: str) -> None:
    """With ones everywhere, and no padding, the outputs add up to the number of products."""
    net, layer = net_with(kind, settings)
    for blob in [*layer.blobs, net.blobs["x"]]:
        blob.data[...] = 1
    if layer.bias is not None:
        layer.bias.data[...] = 0
    assert multiply_adds(net.nodes[1]) == net.forward()["y"].sum()
