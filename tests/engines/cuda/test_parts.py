"""Backward in parts, and layers that normalise over the rows of all ranks, on the CUDA engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.share import Share
from tests.engines.test_parts import gradients, net

pytestmark = pytest.mark.usefixtures("cuda")
NET = """
layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 6 dim: 3 dim: 4 dim: 4 }} }} }}
layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{
  num_output: 4 kernel_size: 3 weight_filler {{ type: "msra" }} }} }}
{norm}
layer {{ name: "r" type: "ReLU" bottom: "c" top: "c" }}
layer {{ name: "loss" type: "Reduction" bottom: "c" top: "loss" loss_weight: 1 reduction_param {{ operation: SUMSQ }} }}
"""
NORMS = {
    "BN": 'layer { name: "bn" type: "BN" bottom: "c" top: "c" }',
    "split": 'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" } '
    'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }',
    "SegNet": 'layer { name: "bn" type: "BN" bottom: "c" top: "c" bn_param { bn_mode: LEARN } }',
}


def test_the_parts_of_a_launch_are_reported_at_its_end() -> None:
    ours, expected = net("cuda"), net("numpy")
    for _ in range(2):
        seen: list[int] = []
        for one in (ours, expected):
            one.clear_param_diffs()
            one.forward_backward_in_parts([5, 0], seen.append)
        assert seen == [len(ours.nodes), 5, 0] * 2
        for a, b in zip(gradients(ours), gradients(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_statistics_of_two_equal_ranks(norm: str) -> None:
    """Another rank that has the same rows changes nothing, but its sums are asked for in each pass."""
    asked: list[int] = []

    def twice(values: Any) -> None:
        asked.append(values.size)
        values *= 2

    share = Share(0, 2, total=twice, synchronised=True)
    text = parse_text(NET.format(norm=NORMS[norm]), pb.NetParameter())
    ours = dragon.Net(text, phase=dragon.TRAIN, engine="cuda", seed=4, share=share)
    alone = dragon.Net(text, phase=dragon.TRAIN, engine="numpy", seed=4)
    for step in range(3):
        x = np.random.default_rng(step).standard_normal((6, 3, 4, 4)).astype(np.float32)
        for one in (ours, alone):
            one.blobs["x"].data[...] = x
            one.clear_param_diffs()
            one.forward_backward()
        for a, b in zip(gradients(ours), gradients(alone), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert asked == [5, 4, 8] * 3
