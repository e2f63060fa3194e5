"""Statistics without a gradient: those of the batch with `gradient_through_statistics: false`, and frozen ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dragon
from dragon.bases.batch_statistics import BatchStatistics
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.layers.helpers import One

X = np.random.default_rng(0).standard_normal((6, 3, 2, 2)) * 2 + 1
FORMS = {
    "split": 'type: "BatchNorm" batch_norm_param {{ {} }}',
    "affine": 'type: "BatchNorm" batch_norm_param {{ scale_bias: true scale_filler {{ type: "gaussian" }} {} }}',
    "merged": 'type: "BN" batch_norm_param {{ scale_filler {{ type: "gaussian" }} {} }}',
}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_only_the_gradient_of_the_bottom_differs(form: str, in_place: bool) -> None:
    usual, constant = (
        One(FORMS[form].format(setting), X, dtype=np.float64, in_place=in_place)
        for setting in ("", "gradient_through_statistics: false")
    )
    dy = np.random.default_rng(1).standard_normal(X.shape)
    np.testing.assert_array_equal(constant.forward(X), usual.forward(X))
    dx = constant.backward(dy).copy()
    usual.backward(dy)
    assert isinstance(constant.layer, BatchStatistics)
    gamma = 1.0 if constant.layer.affine is None else constant.layer.affine[0].data.reshape(1, 3, 1, 1)
    std = np.sqrt(X.var((0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(dx, gamma / std * dy, rtol=1e-6)
    for mine, theirs in zip(constant.layer.blobs, usual.layer.blobs, strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)
        np.testing.assert_array_equal(mine.diff, theirs.diff)


BIAS = """
layer {{ name: "u" type: "Input" top: "u" input_param {{ shape {{ dim: 16 dim: 4 }} }} }}
layer {{ name: "t" type: "Input" top: "t" input_param {{ shape {{ dim: 16 dim: 4 }} }} }}
layer {{ name: "bias" type: "Bias" bottom: "u" top: "x" }}
layer {{ name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param {{ {} }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }}
"""


def grown(setting: str, steps: int, rate: float) -> tuple[Any, Any]:
    """Losses and the bias (steps, 4) of gradient descent; targets have the mean 2 and do not depend on u."""
    net = dragon.Net(parse_text(BIAS.format(setting), pb.NetParameter()), dragon.TRAIN, engine="numpy", dtype="float64")
    rng = np.random.default_rng(0)
    net.blobs["u"].data[...] = rng.standard_normal((16, 4))
    net.blobs["t"].data[...] = 2
    losses, biases = [], []
    bias = net.params["bias"][0]
    for _ in range(steps):
        net.clear_param_diffs()
        losses.append(net.run_forward())
        net.run_backward()
        bias.data[...] -= rate * bias.diff
        biases.append(bias.data.copy())
    net.close()
    return np.array(losses), np.array(biases)


def test_a_bias_before_it_grows_without_end_and_the_loss_stays() -> None:
    """Ioffe & Szegedy 2015, section 2. Each step adds the same, and what the mean takes away changes no loss."""
    losses, biases = grown("gradient_through_statistics: false", 200, 0.5)
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)
    steps = np.diff(biases, axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(biases[0], steps.shape), rtol=1e-9)
    std = np.sqrt(np.random.default_rng(0).standard_normal((16, 4)).var(0) + 1e-5)
    np.testing.assert_allclose(biases[-1], 200 * 0.5 * 2 / std, rtol=1e-6)  # y has the mean 0, the targets 2


def test_the_gradient_through_the_statistics_keeps_the_bias_where_it_is() -> None:
    losses, biases = grown("", 200, 0.5)
    np.testing.assert_allclose(losses, losses[0], rtol=1e-12)
    np.testing.assert_allclose(biases, 0, atol=1e-12)


@pytest.mark.parametrize("form", ["affine", "merged"])
def test_frozen_statistics_stay_while_gamma_and_beta_learn(form: str) -> None:
    one = One(FORMS[form].format("use_global_stats: true"), X, dtype=np.float64)
    assert isinstance(one.layer, BatchStatistics)
    one.layer.set_running(np.array([1.0, 2, 3]), np.array([4.0, 5, 6]))
    before = [blob.copy() for blob in one.blobs]
    assert one.layer.affine is not None
    gamma, beta = one.layer.affine
    y = one.forward(X).copy()
    xhat = (X - np.array([1.0, 2, 3]).reshape(1, 3, 1, 1)) / np.sqrt(np.array([4.0, 5, 6]).reshape(1, 3, 1, 1) + 1e-5)
    np.testing.assert_allclose(y, gamma.data.reshape(1, 3, 1, 1) * xhat, rtol=1e-6)
    dy = np.random.default_rng(1).standard_normal(X.shape)
    one.backward(dy)
    np.testing.assert_allclose(gamma.diff, (dy * xhat).sum((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(beta.diff, dy.sum((0, 2, 3)), rtol=1e-6)
    for blob, value in zip(one.blobs, before, strict=True):
        np.testing.assert_array_equal(blob, value)
