"""oneDNN knows 12 axes, blobs have up to 32: what it cannot take runs by the reference."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from dragon.errors import ShapeError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

LAYERS = {
    "chain": """layer { name: "a" type: "ReLU" bottom: "x" top: "x" }
      layer { name: "b" type: "Scale" bottom: "x" top: "b" scale_param { axis: -1 bias_term: true } }
      layer { name: "c" type: "Softmax" bottom: "b" top: "y" softmax_param { axis: -1 } }""",
    "eltwise": 'layer { name: "e" type: "Eltwise" bottom: "x" bottom: "x" top: "y" }',
    "concat": 'layer { name: "c" type: "Concat" bottom: "x" bottom: "x" top: "y" concat_param { axis: -2 } }',
    "ip": 'layer { name: "i" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3 axis: -2 '
    'weight_filler { type: "gaussian" } } }',
    "bn": 'layer { name: "n" type: "BN" bottom: "x" top: "y" }',
    "reduction": 'layer { name: "r" type: "Reduction" bottom: "x" top: "y" reduction_param { axis: 1 } }',
}


def net(layers: str, axes: int, engine: str) -> dragon.Net:
    dims = "dim: 2 dim: 3 " + "dim: 1 " * (axes - 4) + "dim: 2 dim: 3"
    text = f'force_backward: true layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}'
    return dragon.Net(parse_text(text + layers, pb.NetParameter()), phase=dragon.TRAIN, engine=engine, seed=1)


@pytest.mark.parametrize("axes", [12, 13, 32])
@pytest.mark.parametrize("layers", LAYERS)
def test_engines_agree(layers: str, axes: int) -> None:
    found = []
    for engine in ("numpy", "onednn"):
        made = net(LAYERS[layers], axes, engine)
        shape = made.blobs["x"].shape
        made.blobs["x"].data[...] = np.random.default_rng(1).standard_normal(shape)
        made.run_forward()
        made.blobs["y"].diff[...] = np.random.default_rng(2).standard_normal(made.blobs["y"].shape)
        made.run_backward()
        found.append([made.blobs["y"].peek().copy(), made.blobs["x"].peek_diff().copy()])
    for mine, reference in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [33, 65, 200])
def test_more_axes_than_caffe_knows(axes: int) -> None:
    with pytest.raises(ShapeError, match=f"a shape of {axes} axes, at most 32 are possible"):
        net(LAYERS["eltwise"], axes, "numpy")
