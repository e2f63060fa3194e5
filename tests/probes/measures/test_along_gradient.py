"""Landscape, predictiveness and smoothness of a quadratic, where all is known: g(w - eta g) = g - eta H g."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.errors import UsageError
from dragon.memory.storage import Array
from dragon.probes import Run, create, measure
from dragon.probes.probe_net import Batch, ProbeNet
from tests.probes.helpers import make_solver, observe, run_of
from tests.probes.measures.nets import layer, quadratic

RATE = 0.4
ETAS = RATE * np.linspace(0.5, 4, 8)


@pytest.fixture
def run() -> Run:
    return run_of(quadratic(), dtype=np.float64)


def parts(run: Run) -> tuple[Array, Array, float]:
    """Gradient, Hessian and loss at the present weights."""
    x, t, w = run.batch(0).arrays["data"], run.batch(0).arrays["label"], run.source().params["ip"][0].peek()[0]
    rest = x @ w - t[:, 0]
    return x.T @ rest / len(x), x.T @ x / len(x), float((rest**2).sum() / (2 * len(x)))


def test_landscape(run: Run) -> None:
    g, hessian, loss = parts(run)
    losses = [loss - eta * g @ g + eta**2 / 2 * g @ hessian @ g for eta in ETAS]
    expected = {"loss": loss, "min": min(losses), "max": max(losses)}
    assert measure(create("landscape", {"rate": RATE}), run) == pytest.approx(expected)


def test_predictiveness(run: Run) -> None:
    g, hessian, _ = parts(run)
    change = float(np.linalg.norm(hessian @ g))
    expected = {"norm": float(np.linalg.norm(g)), "min": ETAS[0] * change, "max": ETAS[-1] * change}
    assert measure(create("predictiveness", {"rate": RATE}), run) == pytest.approx(expected)


def test_smoothness(run: Run) -> None:
    g, hessian, _ = parts(run)
    beta = float(np.linalg.norm(hessian @ g) / np.linalg.norm(g))
    assert measure(create("smoothness", {"rate": RATE}), run) == pytest.approx({"beta": beta})


def test_a_rate_of_zero_has_no_smoothness(run: Run) -> None:
    assert measure(create("smoothness", {"rate": 0}), run) == {"beta": None}


def test_the_steps_must_be_in_order() -> None:
    with pytest.raises(UsageError, match='probe "landscape": low must not be above high, got 5 and 4'):
        create("landscape", {"low": 5})


def test_probes_of_one_training_look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the passes of each measurement, and find what each finds alone."""
    passes, gradient = [], ProbeNet.gradient

    def counted(self: ProbeNet, batch: Batch) -> Any:
        passes.append(batch)
        return gradient(self, batch)

    def found(*probes: tuple[str, dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        passes.clear()
        solver = make_solver(max_iter=4)
        observer = observe(solver, *probes)
        solver.solve()
        return len(passes), observer.series()

    monkeypatch.setattr(ProbeNet, "gradient", counted)
    probes = [(name, {"every": 2}) for name in ("landscape", "predictiveness", "smoothness")]
    alone: dict[str, Any] = {}
    for probe in probes:
        count, series = found(probe)
        assert count == 3 * 9
        alone |= series
    assert found(*probes) == (3 * 9, alone)
    assert found(probes[0], ("smoothness", {"every": 2, "points": 2}))[0] == 3 * (9 + 3)


@pytest.mark.parametrize("name", ["landscape", "predictiveness", "smoothness"])
def test_what_is_not_a_number_somewhere_has_no_extremes(name: str) -> None:
    """The root of w at w = 1, where g is 1/2: w - eta g is below 0 for eta above 2."""
    net = layer("InnerProduct", "ip", "data", "inner_product_param { num_output: 1 bias_term: false WEIGHT }")
    net = net.replace("WEIGHT", "weight_filler { value: 1 }") + layer(
        "Power", "root", "ip", "power_param { power: 0.5 }"
    )
    net = CONSTANT + net + layer("Reduction", "loss", "root", "reduction_param { operation: SUM } loss_weight: 1")
    found = measure(create(name, {"rate": 1.1}), run_of(net))
    assert [key for key, value in found.items() if value is None] == [k for k in found if k in ("min", "max", "beta")]


CONSTANT = """layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 1 }
  data_filler { value: 1 } } }
"""
