from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dragon.memory.storage import Array
from dragon.probes.arithmetic import angle
from dragon.solver.solver import Observer, Solver
from tests.probes.helpers import make_solver, observe
from tests.probes.measures.nets import quadratic


class Weights(Observer):
    def __init__(self) -> None:
        self.found: list[Array] = []

    def on_start(self, solver: Solver) -> None:
        self.on_iteration(solver, 0, 0)

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        self.found.append(solver.net.params["ip"][0].peek()[0].astype(np.float64))


def test_the_angle_of_each_update() -> None:
    solver, weights = make_solver(quadratic(), max_iter=5, test_iter=[], test_interval=0), Weights()
    observer = observe(solver, ("rotation", {"every": 2}))
    solver.observers.append(weights)
    solver.solve()
    iterations, values = observer.series()["probe/rotation/ip"]
    assert iterations == [2, 4, 5]
    for iteration, value in zip(iterations, values, strict=True):
        a, b = weights.found[iteration - 1 : iteration + 1]
        assert value == pytest.approx(math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), rel=1e-4)


@pytest.mark.parametrize("turn", [1e-12, 1e-3, 1.0, 3.0])
def test_small_and_large_angles(turn: float) -> None:
    assert angle(np.array([2.0, 0.0]), 5 * np.array([math.cos(turn), math.sin(turn)])) == pytest.approx(turn)


def test_no_angle_of_zero() -> None:
    assert math.isnan(angle(np.zeros(2), np.ones(2)))


NORMALISED = """
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 16 dim: 20 } shape { dim: 16 dim: 4 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "gaussian" std: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { decay_mult: 1 }
  inner_product_param { num_output: 4 bias_term: false weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "bn" type: "BN" bottom: "ip" top: "ip" param { lr_mult: 0 } param { lr_mult: 0 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_where_the_angle_settles(momentum: float) -> None:
    """Behind a normalisation, with targets that are noise, the angle comes to the equilibrium."""
    settings: dict[str, Any] = {"base_lr": 0.1 * (1 - momentum), "momentum": momentum, "weight_decay": 0.05}
    solver = make_solver(NORMALISED, max_iter=1500, test_iter=[], test_interval=0, display=0, **settings)
    observer = observe(solver, ("rotation", {"every": 1}))
    solver.solve()
    series = observer.series()
    angles, expected = series["probe/rotation/ip"][1][500:], series["probe/rotation/equilibrium"][1][-1]
    rms = float(np.sqrt(np.mean(np.square(angles))))
    assert rms == pytest.approx(expected, rel=0.1)
    assert expected == pytest.approx(math.sqrt(2 * settings["base_lr"] * 0.05 / (1 + momentum)))


def test_other_rules_have_no_equilibrium() -> None:
    solver = make_solver(max_iter=1, type="Adam", weight_decay=0.1)
    observer = observe(solver, ("rotation", {"every": 1}))
    solver.solve()
    assert set(observer.series()) == {"probe/rotation/conv", "probe/rotation/ip"}
