from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dragon.errors import UsageError
from dragon.probes import AT_END, Probe, ProbeObserver, Run, create
from tests.helpers import toy_solver
from tests.probes.helpers import make_solver, observe


@dataclass(kw_only=True, eq=False)
class Recorded(Probe):
    """Records how it is called."""

    name = "recorded"
    calls: list[tuple[str, int]] = field(default_factory=list)

    def start(self, run: Run) -> None:
        self.calls.append(("start", run.iteration))

    def before_measure(self, run: Run) -> None:
        self.calls.append(("before", run.iteration))

    def measure(self, run: Run) -> Mapping[str, float]:
        self.calls.append(("measure", run.iteration))
        return {"x": float("nan") if run.iteration == 4 else run.iteration}

    def close(self) -> None:
        self.calls.append(("close", -1))


def test_when_a_probe_is_called() -> None:
    solver, probe = make_solver(max_iter=7), Recorded(every=4)
    observer = ProbeObserver([probe])
    solver.observers.append(observer)
    solver.solve()
    assert probe.calls == [
        ("start", 0), ("measure", 0), ("before", 3), ("measure", 4), ("before", 6), ("measure", 7), ("close", -1)
    ]  # fmt: skip
    assert observer.series() == {"probe/recorded/x": [[0, 4, 7], [0.0, None, 7.0]]}
    assert observer.seconds > 0


def test_every_iteration() -> None:
    solver, probe = make_solver(max_iter=2), Recorded(every=1)
    solver.observers.append(ProbeObserver([probe]))
    solver.solve()
    assert probe.calls[1:-1] == [("measure", 0), ("before", 0), ("measure", 1), ("before", 1), ("measure", 2)]


def test_only_at_the_end() -> None:
    solver, probe = make_solver(max_iter=3), Recorded(every=AT_END)
    solver.observers.append(ProbeObserver([probe]))
    solver.solve()
    assert probe.calls == [("start", 0), ("before", 2), ("measure", 3), ("close", -1)]


def test_a_run_that_is_stopped_has_no_last_measurement(tmp_path: Path) -> None:
    """The rest of the run, which resumes it, has one."""
    solver, probe = make_solver(max_iter=3, folder=tmp_path), Recorded(every=2)
    solver.observers.append(ProbeObserver([probe]))
    solver.add_callback(on_gradients_ready=lambda: solver.request("stop"))
    solver.solve()
    assert [call for call in probe.calls if call[0] == "measure"] == [("measure", 0)]


def test_each_measurement_is_reported() -> None:
    seen = []
    solver = make_solver(max_iter=2)
    solver.observers.append(ProbeObserver([Recorded(every=2)], lambda s, p, v: seen.append((s.iter, p.title, v))))
    solver.solve()
    assert seen == [(0, "recorded", {"x": 0.0}), (2, "recorded", {"x": 2.0})]


def test_two_probes_of_one_name_need_labels() -> None:
    with pytest.raises(UsageError, match=r'probe "weight_norm" is given twice: tell them apart by label=NAME'):
        ProbeObserver([create("weight_norm"), create("weight_norm")])
    solver = toy_solver(max_iter=1)
    observer = observe(solver, ("weight_norm", {}), ("weight_norm", {"label": "again"}))
    solver.solve()
    series = observer.series()
    assert series["probe/weight_norm/conv"] == series["probe/again/conv"]


def test_an_error_in_a_training_names_the_probe() -> None:
    solver = make_solver()
    observe(solver, ("percentiles", {"layer": "cov"}))
    with pytest.raises(UsageError, match=r'^probe "percentiles": the net has no layer "cov" \(did you mean "conv"'):
        solver.solve()
