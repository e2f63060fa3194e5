"""Backward in parts: the same bits as in one go, with the gradients of each part complete when it is reported."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.engines import needs

NET = """
layer { name: "x" type: "DummyData" top: "x" top: "l" dummy_data_param {
  shape { dim: 6 dim: 3 dim: 12 dim: 12 } data_filler { type: "gaussian" } shape { dim: 6 } data_filler { value: 2 } } }
layer { name: "c1" type: "Convolution" bottom: "x" top: "c1" convolution_param {
  num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn1" type: "BatchNorm" bottom: "c1" top: "c1" }
layer { name: "s1" type: "Scale" bottom: "c1" top: "c1" scale_param { bias_term: true } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "c2" type: "Convolution" bottom: "c1" top: "c2" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "r2" type: "ReLU" bottom: "c2" top: "c2" }
layer { name: "c3" type: "Convolution" bottom: "c2" top: "c3" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "c1" bottom: "c3" top: "sum" }
layer { name: "p" type: "Pooling" bottom: "sum" top: "p" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "i" type: "InnerProduct" bottom: "p" top: "i" inner_product_param {
  num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "i" bottom: "l" top: "loss" }
"""


def net(engine: str) -> dragon.Net:
    if engine == "onednn":
        needs.onednn()
    return dragon.Net(parse_text(NET, pb.NetParameter()), phase=dragon.TRAIN, engine=engine, seed=4)


def gradients(made: dragon.Net) -> list[Any]:
    return [p.blob.peek_diff().copy() for p in made.learnable]


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("ends", [[0], [8, 5, 0], [*reversed(range(13))], [9, 7, 6, 3, 2, 0]], ids=str)
def test_parts_give_the_bits_of_the_whole(engine: str, ends: list[int]) -> None:
    parts, whole = net(engine), net(engine)
    ends = [end for end in ends if end < len(parts.nodes)]
    for _ in range(3):  # the first run makes the plan
        seen: list[int] = []
        for one in (parts, whole):
            one.clear_param_diffs()
        loss = parts.forward_backward_in_parts(ends, seen.append)
        assert loss == whole.forward_backward()
        assert seen == [len(parts.nodes), *ends]
        for a, b in zip(gradients(parts), gradients(whole), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_gradients_are_complete_when_a_part_is_reported(engine: str) -> None:
    parts = net(engine)
    lowest = {
        k: min(
            node.index for node in parts.nodes if any(b.diff_storage is p.blob.diff_storage for b in node.layer.blobs)
        )
        for k, p in enumerate(parts.learnable)
    }
    found: dict[int, Any] = {}

    def ready(end: int) -> None:
        for k, p in enumerate(parts.learnable):
            if k not in found and lowest[k] >= end:
                found[k] = p.blob.peek_diff().copy()

    parts.clear_param_diffs()
    parts.forward_backward_in_parts([*reversed(range(len(parts.nodes)))], ready)
    assert len(found) == len(parts.learnable)
    for k, p in enumerate(parts.learnable):
        np.testing.assert_array_equal(found[k], p.blob.peek_diff())
        assert found[k].any() or not p.lr_mult


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_hooks_see_each_layer(engine: str) -> None:
    parts, whole = net(engine), net(engine)
    seen: list[int] = []
    parts.after_backward(seen.append)
    for one in (parts, whole):
        one.clear_param_diffs()
    parts.forward_backward_in_parts([5, 0], lambda end: None)
    whole.forward_backward()
    assert seen == [*reversed(range(len(parts.nodes)))]
    for a, b in zip(gradients(parts), gradients(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
