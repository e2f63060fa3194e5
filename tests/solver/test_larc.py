"""Layer-wise rates against the formula of You, Gitman and Ginsburg 2017 in plain arithmetic, on every engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.errors import PrototxtError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from dragon.solver.types import get_solver

NET = """
layer { name: "x" type: "DummyData" top: "x" top: "y" dummy_data_param {
  shape { dim: 4 dim: 6 } data_filler { type: "gaussian" } shape { dim: 4 dim: 3 } data_filler { type: "gaussian" } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" param { lr_mult: 5 decay_mult: 2 }
  param { lr_mult: 2 decay_mult: 0 } inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "frozen" type: "InnerProduct" bottom: "ip" top: "frozen" param { lr_mult: 0 } param { lr_mult: 0 }
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "frozen" bottom: "y" top: "loss" }
"""
RATE, DECAY, MOMENTUM = 0.5, 0.01, 0.9
ENGINES = ["numpy", "onednn"]


def solver(engine: str, **settings: Any) -> Any:
    net = parse_text(NET, pb.NetParameter())
    usual: dict[str, Any] = {
        "base_lr": RATE, "lr_policy": "fixed", "momentum": MOMENTUM, "weight_decay": DECAY, "larc": True,
        "larc_eta": 0.02,
    }  # fmt: skip
    return get_solver(pb.SolverParameter(net_param=net, **(usual | settings)), engine=engine, seed=3)


def norm(values: NDArray[Any]) -> float:
    return math.sqrt(sum(float(v) ** 2 for v in values.ravel()))


def rate_of(w: NDArray[Any], g: NDArray[Any], decay: float, policy: str) -> float:
    below = norm(g) + decay * norm(w)
    local = 0.02 * norm(w) / below if norm(w) and norm(g) else 1.0
    return RATE * local if policy == "scale" else min(RATE, local)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("policy", ["scale", "clip"])
@pytest.mark.parametrize("more", [{}, {"clip_gradients": 0.1}, {"iter_size": 2}], ids=["plain", "clipped", "summed"])
def test_four_steps(engine: str, policy: str, more: dict[str, Any]) -> None:
    one = solver(engine, larc_policy=policy, **more)
    weights = [p.blob.data.astype(np.float64) for p in one.net.learnable]
    history = [np.zeros_like(w) for w in weights]
    rng = np.random.default_rng(1)
    for iteration in range(4):
        gradients = [rng.standard_normal(w.shape).astype(np.float32) for w in weights]
        for p, g in zip(one.net.learnable, gradients, strict=True):
            p.blob.diff[...] = g
        one.net.executor.update(one.updater, RATE, iteration)
        total = math.sqrt(norm(gradients[0]) ** 2 + norm(gradients[1]) ** 2)
        factor = min(1.0, more.get("clip_gradients", math.inf) / total) / more.get("iter_size", 1)
        for k, decay in enumerate([2 * DECAY, 0.0]):  # lr_mult has no part in it
            g = gradients[k].astype(np.float64) * factor
            rate = rate_of(weights[k], g, decay, policy)
            history[k] = MOMENTUM * history[k] + rate * (g + decay * weights[k])
            weights[k] = weights[k] - history[k]
        for p, w in zip(one.net.learnable, weights, strict=True):
            np.testing.assert_allclose(p.blob.data, w, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_blob_of_zeros_learns_at_the_global_rate(engine: str) -> None:
    one = solver(engine)
    for p in one.net.learnable:
        p.blob.diff[...] = 1
    assert not one.net.params["ip"][1].data.any()
    one.net.executor.update(one.updater, RATE, 0)
    np.testing.assert_allclose(one.net.params["ip"][1].data, -RATE)


def check_training(mine: Any, reference: Any, plain: Any) -> None:
    """Assert that five steps of training are those of the reference, and not those of a plain rule."""
    for one in (mine, reference, plain):
        one.step(5)
    a, b, c = (one.net.params["ip"][0].data for one in (mine, reference, plain))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert np.abs(b - c).max() > 1e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_training_of_a_net_is_that_of_the_reference(engine: str) -> None:
    check_training(solver(engine), solver("numpy"), solver("numpy", larc=False))


def test_adam_takes_the_rates_too() -> None:
    plain, larc = (solver("numpy", type="Adam", larc=on, weight_decay=0.0) for on in (False, True))
    before = plain.net.params["ip"][0].data.astype(np.float64)
    for one in (plain, larc):
        one.net.params["ip"][0].diff[...] = 1
        one.updater.apply(RATE, 0)
    steps = [one.net.params["ip"][0].data - before for one in (plain, larc)]
    local = 0.02 * norm(before) / math.sqrt(before.size)
    np.testing.assert_allclose(steps[1], steps[0] * local / 5, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"larc_policy": "clipp"}, r'larc_policy is one of scale, clip, got "clipp" \(did you mean "clip"\?\)'),
        ({"larc_eta": 0.0}, "larc_eta must be positive, got 0"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        solver("numpy", **settings)
