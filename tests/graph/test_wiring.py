"""What the wiring of a net says of definitions that run, but not as they look."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import dragon
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

LOSS = """
layer { name: "x" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "a"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "a" bottom: "t" top: "loss" }
"""
READER = 'layer { name: "p" type: "Power" bottom: "loss" top: "p" }'


def gradient(text: str) -> float:
    net = dragon.Net(parse_text(text, pb.NetParameter()), dragon.TRAIN, seed=1)
    net.blobs["x"].data[...] = 1
    net.clear_param_diffs()
    net.forward_backward()
    return float(np.abs(net.params["ip"][0].diff).sum())


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (LOSS, False),
        (LOSS + READER, True),
        (LOSS + 'layer { name: "s" type: "Silence" bottom: "loss" }', True),
        (LOSS.replace('top: "loss"', 'top: "loss" loss_weight: 1') + READER, False),
    ],
)
def test_a_loss_that_another_layer_reads(text: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dragon"):
        assert (gradient(text) == 0) == warned
    said = [m for m in caplog.messages if "gives no gradient" in m]
    assert said == (
        [
            'layer "loss" (EuclideanLoss): another layer reads its loss, so it gives no gradient, as in Caffe; '
            "loss_weight: 1, written out, makes it count"
        ]
        if warned
        else []
    )
