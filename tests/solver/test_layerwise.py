"""LARS and LAMB against their papers' formulas in plain arithmetic, on every engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dragon
from dragon.errors import PrototxtError
from dragon.solver.types import get_solver
from tests.solver.test_larc import DECAY, ENGINES, MOMENTUM, RATE, check_training, norm, solver

Values = NDArray[np.float64]
MULTIPLIERS = [(5, 2 * DECAY), (2, 0.0)]  # lr_mult and weight decay of weights and bias
DELTA = 1e-3


class LARS:
    """Algorithm 1 of You, Gitman and Ginsburg 2017, for one blob."""

    def __init__(self, w: Values) -> None:
        self.w, self.v = w, np.zeros_like(w)

    def step(self, g: Values, multiplier: float, decay: float, t: int) -> None:
        local = 0.02 * norm(self.w) / (norm(g) + decay * norm(self.w)) if norm(self.w) else 1.0
        self.v = MOMENTUM * self.v + RATE * multiplier * local * (g + decay * self.w)
        self.w = self.w - self.v


class LAMB:
    """Algorithm 2 of You et al. 2020, for one blob, with Adam's delta as Caffe has it."""

    def __init__(self, w: Values) -> None:
        self.w, self.m, self.v = w, np.zeros_like(w), np.zeros_like(w)

    def step(self, g: Values, multiplier: float, decay: float, t: int) -> None:
        self.m = MOMENTUM * self.m + (1 - MOMENTUM) * g
        self.v = 0.999 * self.v + 0.001 * g * g
        mean, root = self.m / (1 - MOMENTUM ** (t + 1)), np.sqrt(self.v / (1 - 0.999 ** (t + 1)))
        r = mean / (root + DELTA / math.sqrt(1 - 0.999 ** (t + 1))) + decay * self.w
        self.w = self.w - RATE * multiplier * (norm(self.w) / norm(r) if norm(self.w) else 1.0) * r


RULES: dict[str, Callable[[Values], Any]] = {"LARS": LARS, "LAMB": LAMB}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("more", [{}, {"clip_gradients": 0.1}, {"iter_size": 2}], ids=["plain", "clipped", "summed"])
def test_four_steps(engine: str, rule: str, more: dict[str, Any]) -> None:
    one = solver(engine, type=rule, larc=False, delta=DELTA, **more)
    blobs = [RULES[rule](p.blob.data.astype(np.float64)) for p in one.net.learnable[:2]]
    frozen = [p.blob.data.copy() for p in one.net.learnable[2:]]
    rng = np.random.default_rng(1)
    for t in range(4):
        gradients = [rng.standard_normal(p.blob.shape).astype(np.float32) for p in one.net.learnable]
        for p, g in zip(one.net.learnable, gradients, strict=True):
            p.blob.diff[...] = g
        one.net.executor.update(one.updater, RATE, t)
        total = math.sqrt(norm(gradients[0]) ** 2 + norm(gradients[1]) ** 2)
        factor = min(1.0, more.get("clip_gradients", math.inf) / total) / more.get("iter_size", 1)
        for blob, g, (multiplier, decay) in zip(blobs, gradients, MULTIPLIERS, strict=False):
            blob.step(g.astype(np.float64) * factor, multiplier, decay, t)
        for p, blob in zip(one.net.learnable, blobs, strict=False):
            np.testing.assert_allclose(p.blob.data, blob.w, rtol=1e-4, atol=1e-6)
    for p, w in zip(one.net.learnable[2:], frozen, strict=True):
        np.testing.assert_array_equal(p.blob.data, w)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_of_lamb_has_the_norm_of_the_weights_times_the_rate(engine: str) -> None:
    one = solver(engine, type="LAMB", larc=False)
    before = one.net.params["ip"][0].data.copy()
    one.step(1)
    moved = norm(one.net.params["ip"][0].data - before)
    assert moved == pytest.approx(5 * RATE * norm(before), rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_training_of_a_net_is_that_of_the_reference(rule: str) -> None:
    mine, reference = (solver(engine, type=rule, larc=False) for engine in ("onednn", "numpy"))
    check_training(mine, reference, solver("numpy", larc=False))


def test_lars_is_larc_with_sgd_where_all_multipliers_are_1() -> None:
    pair = [solver("numpy", type="LARS", larc=False), solver("numpy", type="SGD")]
    for one in pair:
        for p in one.net.learnable[:2]:
            p.lr_mult = 1
        one.step(3)
    for a, b in zip(pair[0].net.learnable, pair[1].net.learnable, strict=True):
        np.testing.assert_array_equal(a.blob.data, b.blob.data)


@pytest.mark.parametrize("rule", RULES)
def test_larc_beside_a_rule_with_rates_of_its_own(rule: str) -> None:
    with pytest.raises(PrototxtError, match=f"larc cannot be used with the {rule} solver, which has rates of its own"):
        solver("numpy", type=rule)


def test_wrong_settings() -> None:
    with pytest.raises(PrototxtError, match="larc_eta must be positive, got 0"):
        solver("numpy", type="LARS", larc=False, larc_eta=0.0)
    with pytest.raises(PrototxtError, match="momentum of the LAMB solver must"):
        solver("numpy", type="LAMB", larc=False, momentum=1.0)


def test_classes_of_scripts() -> None:
    param = solver("numpy", larc=False).param
    for cls in (dragon.LARSSolver, dragon.LAMBSolver):
        assert cls(param).updater.rule.name == cls.rule_name
        param.type = str(cls.rule_name)
        assert type(get_solver(param)) is cls
