from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dragon.solver.glog import GlogObserver
from dragon.solver.meter import Lap, Meter
from dragon.solver.solver import Solver
from dragon.tools.observers import curves
from dragon.tools.observers.curves import CurvesObserver, draw_curves
from dragon.tools.observers.metrics import MetricsObserver, read_records
from dragon.tools.observers.progress import ProgressObserver
from tests.helpers import toy_solver
from tests.tools.conftest import edit


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def solver(work: Path) -> Solver:
    return Solver("solver.prototxt", engine="numpy")


def test_meter_leaves_out_tests_and_snapshots(work: Path) -> None:
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 20 iter_size: 2")
    solver = Solver("solver.prototxt", engine="numpy")
    clock = Clock()
    meter = Meter(clock)
    lap = Lap(meter)
    meter.on_start(solver)
    assert meter.images == 16
    assert meter.seconds_left(solver) is None
    for _ in range(4):
        clock.now += 0.5
        solver.iter += 1
        meter.on_iteration(solver, 1.0, 0.1)
    meter.on_test_start(solver, 0)
    clock.now += 3
    meter.on_test(solver, 0, solver.test())
    clock.now += 7
    meter.on_snapshot(solver, "", "")
    clock.now += 0.5
    solver.iter += 1
    meter.on_iteration(solver, 1.0, 0.1)
    assert meter.images_per_second == pytest.approx(32)
    assert (meter.seconds, meter.test_seconds) == (2.5, 3)
    assert lap.take() == (5, 2.5)
    assert lap.take() == (0, 0)
    # 15 iterations of 0.5 s, and tests at 10 and 20 of 3 s each
    assert meter.seconds_left(solver) == pytest.approx(15 * 0.5 + 2 * 3)


def test_progress_shows_loss_accuracy_speed_and_time_left(solver: Solver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragon.tools.observers.progress._INTERVAL", 0.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    meter = Meter()
    solver.observers += [meter, ProgressObserver(meter, console)]
    solver.solve()
    text = screen.getvalue()
    assert re.search(r"12/20, loss \d\.\d+, test accuracy \d+\.\d\d%, [\d,]+ images/s, 0:00:0\d left", text)
    assert re.search(r"iteration 10, test: acc \S+, loss \S+ \(SYNTHETIC data\)", text)
    assert "iteration 15: snapshot out/x_iter_15.solverstate" in text
    assert re.search(r"trained .*100% 20/20", text)


def test_metrics_keep_what_json_cannot_say(solver: Solver, tmp_path: Path) -> None:
    metrics = MetricsObserver(tmp_path / "m" / "metrics.jsonl", Meter())
    metrics.on_start(solver)
    scores = {"a": np.array([1.0, np.nan]), "b": np.array(2.5), "huge": np.zeros(1000)}
    solver.iter = 3
    metrics.on_test(solver, 0, scores)  # type: ignore[arg-type]
    metrics.on_end(solver)
    lines = (tmp_path / "m" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["start", "test", "end"]
    assert json.loads(lines[1])["outputs"] == {"a": [1.0, None], "b": 2.5}


def test_damaged_metrics_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_records(path) == []
    path.write_bytes(b'{"event": "test", "iteration": 1}\n\xff\xfe\n[1]\n{"event": "display"}\n{"event": "te')
    assert read_records(path) == [{"event": "test", "iteration": 1}]


def test_a_loss_of_minus_zero_is_zero(
    solver: Solver, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver.net, "output_values", lambda: {"loss": np.array(-0.0)})
    metrics = MetricsObserver(tmp_path / "metrics.jsonl", Meter())
    metrics.on_start(solver)
    with caplog.at_level(logging.INFO, "dragon"):
        for observer in (GlogObserver(Meter()), metrics):
            observer.on_display(solver, -0.0, 0.1)
    metrics.on_end(solver)
    assert "loss = 0\n" in caplog.text
    assert "Train net output #0: loss = 0 (* 1 = 0 loss)" in caplog.text
    assert "-0" not in "".join(record.getMessage() for record in caplog.records)
    assert '"loss": 0.0, ' in (tmp_path / "metrics.jsonl").read_text()


def test_curves_are_drawn_seldom(solver: Solver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(curves, "draw_curves", lambda path, records, title, losses, accuracies: drawn.append(title))
    clock = Clock()
    monkeypatch.setattr("time.perf_counter", clock)
    meter = Meter()
    observer = CurvesObserver(tmp_path / "c.png", MetricsObserver(tmp_path / "m", meter), meter)
    scores = solver.test()
    for seconds, expected in ((1, 0), (28, 0), (2, 1), (10, 1), (21, 2)):
        clock.now += seconds
        observer.on_test(solver, 0, scores)
        assert len(drawn) == expected
    observer.on_end(solver)
    assert drawn == ["small on SYNTHETIC data"] * 3


def test_curves_without_accuracy_or_without_anything(tmp_path: Path) -> None:
    path = tmp_path / "c.png"
    draw_curves(path, [{"event": "start", "iteration": 0}], "t", ["loss"], [])
    assert not path.exists()
    records = [{"event": "display", "iteration": i, "loss": 1.0 / (i + 1)} for i in range(5)]
    draw_curves(path, records, "t", [], [])
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_killed_runs_left_of_metrics_and_curves_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / ".metrics.jsonl.ab12cd34", tmp_path / ".curves.png.ab12cd_4"]
    others = [tmp_path / ".other.png.ab12cd34", tmp_path / "curves.png.ab12cd34"]
    for path in left + others:
        path.write_text("half")
    meter = Meter()
    metrics = MetricsObserver(tmp_path / "metrics.jsonl", meter)
    solver = toy_solver(max_iter=1)
    solver.observers += [meter, metrics, CurvesObserver(tmp_path / "curves.png", metrics, meter)]
    solver.solve()
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


def test_a_second_run_in_one_folder_leaves_the_metrics_of_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two runs whose snapshots differ in name only share a folder, where their metrics have one name."""
    runs = []
    for _ in range(2):
        solver, meter = toy_solver(max_iter=1, display=1), Meter()
        metrics = MetricsObserver(tmp_path / "metrics.jsonl", meter)
        solver.observers += [meter, metrics, CurvesObserver(tmp_path / "curves.png", metrics, meter)]
        runs.append((solver, metrics))
    (first, metrics), (second, _) = runs
    first.iter = 7
    metrics.on_start(first)
    before = metrics.path.read_text()
    with caplog.at_level(logging.WARNING, "dragon"):
        second.solve()
    assert metrics.path.read_text() == before
    assert not (tmp_path / "curves.png").exists()
    assert "is being written" in caplog.text
    metrics.on_end(first)
    assert [record["event"] for record in read_records(metrics.path)] == ["start", "end"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
