"""BN and BatchNorm of the Dragon of 2017 against a model in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.gradient import check_gradient
from dragon.graph.net import Net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text

NET = """
layer {{ name: "data" type: "Input" top: "x" input_param {{ shape {{ dim: 6 dim: 3 dim: 4 dim: 5 }} }} }}
layer {{ name: "bn" type: "{kind}" bottom: "x" top: "y" {settings} }}
"""
FILLERS = "scale_param { filler { value: 2 } bias_filler { value: 0.5 } }"


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("kind", ["BN", "FusedBatchNorm"])
@pytest.mark.parametrize(
    ("settings", "fraction", "eps"),
    [("", 0.9, 1e-3), ("batch_norm_param { moving_average_fraction: 0.5 eps: 0.1 }", 0.5, 0.1)],
)
def test_bn(engine: str, kind: str, settings: str, fraction: float, eps: float) -> None:
    net = parse_text(NET.format(kind=kind, settings=f"{settings} {FILLERS}"), pb.NetParameter())
    train, test = (Net(net, phase=phase, engine=engine, profile="neopenx", seed=1) for phase in (TRAIN, TEST))
    test.share_with(train)
    rng = np.random.default_rng(2)
    mean, variance = np.zeros(3), np.zeros(3)
    for k in range(4):
        x = rng.standard_normal((6, 3, 4, 5)) * (k + 1) + k
        m, v = x.mean((0, 2, 3)), x.var((0, 2, 3))
        mean, variance = fraction * mean + (1 - fraction) * m, fraction * variance + (1 - fraction) * v
        for found, (a, b) in ((train, (m, v)), (test, (mean, variance))):
            y = 2 * (x - a[:, None, None]) / np.sqrt(b[:, None, None] + eps) + 0.5
            np.testing.assert_allclose(found.forward(x=x)["y"], y, rtol=1e-4, atol=1e-5)
        for blob, expected in zip(train.params["bn"], (mean, variance, np.full(3, 2), np.full(3, 0.5)), strict=True):
            np.testing.assert_allclose(blob.data, expected, rtol=1e-5, atol=1e-6)


def test_batch_norm_takes_other_defaults() -> None:
    """BatchNorm by Caffe's rule: three batches, the sums divided by their weight, the variance unbiased."""
    net = parse_text(NET.format(kind="BatchNorm", settings=""), pb.NetParameter())
    train, test = (Net(net, phase=phase, engine="numpy", profile="neopenx") for phase in (TRAIN, TEST))
    test.share_with(train)
    rng = np.random.default_rng(2)
    mean, variance, weight = np.zeros(3), np.zeros(3), 0.0
    for k in range(3):
        x = rng.standard_normal((6, 3, 4, 5)) * (k + 1) + k
        train.forward(x=x)
        mean, variance, weight = (
            0.9 * mean + x.mean((0, 2, 3)),
            0.9 * variance + x.var((0, 2, 3), ddof=1),
            0.9 * weight + 1,
        )
    expected = (x - (mean / weight)[:, None, None]) / np.sqrt((variance / weight)[:, None, None] + 1e-3)
    np.testing.assert_allclose(test.forward(x=x)["y"], expected, rtol=1e-4, atol=1e-5)
    assert [blob.shape for blob in train.params["bn"]] == [(3,), (3,), (1,)]


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_gradient(phase: int) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 2, 2))
    assert check_gradient(f'type: "BN" profile: "neopenx" {FILLERS}', [x], phase=phase) > 0
