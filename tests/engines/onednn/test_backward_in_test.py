"""Backward in TEST through layers that carry a state, and through a loss that Silence reads."""

from __future__ import annotations

import numpy as np
import pytest

import dragon
from tests.engines.onednn.comparing import compare, fill, make_net, put, set_output_diffs

pytestmark = pytest.mark.usefixtures("device")

RECURRENT = """
force_backward: true
layer { name: "x0" type: "Input" top: "x0" input_param { shape { dim: 3 dim: 2 dim: 5 } } }
layer { name: "x1" type: "Input" top: "x1" input_param { shape { dim: 3 dim: 2 } } }
layer { name: "p" type: "Power" bottom: "x0" top: "p" power_param { scale: 2 } }
layer { name: "r" type: "KIND" bottom: "p" bottom: "x1" top: "r" propagate_down: true propagate_down: false
        recurrent_param { num_output: 4 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "r" top: "y"
        inner_product_param { num_output: 2 axis: 2 weight_filler { type: "gaussian" std: 0.5 } } }
"""


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_carried_state(kind: str, batches: int) -> None:
    """Backward belongs to the last batch, which began with what the one before ended with; twice, and then forward."""
    text = RECURRENT.replace("KIND", kind)
    nets = make_net(text, "numpy", dragon.TEST, np.float64), make_net(text, "onednn", dragon.TEST)
    fill(nets, 0, {"x1": np.ones((3, 2))})
    for attempt in range(2):
        for number in range(batches):
            value = np.round(np.random.default_rng((attempt, number)).standard_normal((3, 2, 5)) * 64) / 64
            put([net.blobs["x0"] for net in nets], value)
            for net in nets:
                net.run_forward()
        set_output_diffs(nets, 1)
        for net in nets:
            net.clear_param_diffs()
            net.run_backward()
        compare(*nets, 2e-5)


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("phase", [dragon.TRAIN, dragon.TEST], ids=["train", "test"])
def test_a_loss_that_silence_reads_has_no_gradient(engine: str, phase: int) -> None:
    text = """
    force_backward: true
    layer { name: "x" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 3 } } }
    layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "t" top: "loss" }
    layer { name: "quiet" type: "Silence" bottom: "loss" }
    """
    net = make_net(text, engine, phase)
    net.blobs["x"].data[...] = [[1, 2, 3], [4, 5, 6]]
    net.run_forward()
    net.run_backward()
    assert not net.blobs["loss"].peek_diff().any()
    assert not net.blobs["x"].peek_diff().any()
