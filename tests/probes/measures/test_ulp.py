from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import NumericError, WeightsError
from dragon.probes import Probe
from dragon.probes.measures.ulp import Ulp
from dragon.solver.solver import Solver
from tests.probes.helpers import make_solver, observe, run_of


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_a_twin_that_starts_equal_stays_equal(engine: str) -> None:
    """Also past a display, which runs an iteration in parts, and a test."""
    solver = make_solver(engine=engine, max_iter=8, display=3, test_interval=2)
    observer = observe(solver, ("ulp", {"ulps": 0}))
    solver.solve()
    series = observer.series()
    assert series["probe/ulp/weights"] == [list(range(9)), [0.0] * 9]
    assert series["probe/ulp/loss"] == [list(range(1, 9)), [0.0] * 8]


def test_one_ulp() -> None:
    solver = make_solver(max_iter=6)
    w = solver.net.params["conv"][0].peek().ravel()[0]
    size = np.sqrt(sum(float((p.blob.peek().astype(np.float64) ** 2).sum()) for p in solver.net.learnable))
    observer = observe(solver, ("ulp", {"until": 4}))
    solver.solve()
    iterations, values = observer.series()["probe/ulp/weights"]
    assert iterations == [0, 1, 2, 3, 4]
    assert values[0] == pytest.approx(abs(float(np.spacing(w))) / size)
    assert all(value > 0 for value in values)


def test_a_twin_that_diverges_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(self: Solver, iterations: int) -> float:
        raise NumericError("loss is inf")

    solver = make_solver(max_iter=3)
    observer = observe(solver, ("ulp", {}))
    for one in solver.observers:
        one.on_start(solver)
    probe: Probe = observer.probes[0]
    assert isinstance(probe, Ulp)
    assert probe.twin is not None
    monkeypatch.setattr(type(probe.twin), "step", lambda self, n: diverges(self, n) if self is not solver else 0.0)
    for one in solver.observers:
        one.on_iteration(solver, 0, 0)
    assert probe.twin is None
    assert not probe.measure(run_of(solver))


@pytest.mark.parametrize("stored", [{"x": "?"}, {"twin.solverstate": "AAAA"}, {}])
def test_a_damaged_state(stored: dict[str, str]) -> None:
    solver = make_solver()
    observer = observe(solver, ("ulp", {}))
    observer.load_state({"series": {}, "done": {}, "states": {"ulp": stored}, "seconds": 0})
    with pytest.raises(WeightsError):
        solver.solve()
