"""Event files, read back by TensorBoard's own loader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.files.events import EventFile
from dragon.probes import ProbeObserver, create
from dragon.solver.meter import Meter
from dragon.solver.solver import Solver
from dragon.tools.observers.metrics import read_records
from dragon.tools.observers.tensorboard import TensorBoardObserver
from tests.helpers import toy_solver, weights_of
from tests.tools.conftest import Dragon, edit


def loaded(folder: Path) -> Any:
    """What TensorBoard reads from a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    found.Reload()
    return found


def curve(folder: Path, name: str) -> dict[int, float]:
    events = loaded(folder).Scalars(name)
    assert len({event.step for event in events}) == len(events), "no point twice"
    return {event.step: event.value for event in events}


def test_train_writes_what_metrics_have(work: Path, dragon: Dragon) -> None:
    result = dragon("train", "--solver", "solver.prototxt", "--tensorboard", "tb", "--engine", "numpy")
    assert result.code == 0, result.err
    assert "Event files go to tb" in result.err
    records = read_records(work / "out" / "metrics.jsonl")
    displays = {r["iteration"]: r for r in records if r["event"] == "display"}
    tests = {r["iteration"]: r["outputs"] for r in records if r["event"] == "test"}
    assert list(displays) == [0, 5, 10, 15, 20]
    assert curve(work / "tb", "train/loss") == pytest.approx({i: r["loss"] for i, r in displays.items()}, rel=1e-6)
    assert curve(work / "tb", "train/rate") == pytest.approx({i: r["lr"] for i, r in displays.items()}, rel=1e-6)
    for name in ("acc", "loss"):
        assert curve(work / "tb", f"test/{name}") == pytest.approx({i: o[name] for i, o in tests.items()}, rel=1e-6)


def test_histograms_are_those_of_weights_and_gradients(tmp_path: Path) -> None:
    solver = toy_solver(max_iter=4, display=2)
    seen: dict[tuple[str, int], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = {}

    class Look(Meter):
        def on_display(self, solver: Solver, loss: float, rate: float) -> None:
            blob = solver.net.params["ip"][0]
            seen["ip/0", solver.iter] = blob.peek().copy(), blob.peek_diff().copy()

    solver.observers += [meter := Look(), TensorBoardObserver(tmp_path, meter)]
    solver.solve()
    found = loaded(tmp_path)
    for kind, place in (("weights", 0), ("gradients", 1)):
        events = {event.step: event.histogram_value for event in found.Histograms(f"{kind}/ip/0")}
        assert set(events) == {0, 2, 4}
        for (_, step), arrays in seen.items():
            values = arrays[place].astype(float)
            histogram = events[step]
            assert histogram.num == values.size
            assert (histogram.min, histogram.max) == pytest.approx((values.min(), values.max()), rel=1e-6)
            assert sum(histogram.bucket) == values.size
    assert seen["ip/0", 2][1].any(), "the gradient before the update"


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_training_stays_as_it_is(engine: str, tmp_path: Path) -> None:
    weights = []
    for k in range(2):
        solver = toy_solver(max_iter=8, display=2, engine=engine)
        if k:
            solver.observers += [meter := Meter(), TensorBoardObserver(tmp_path, meter)]
        solver.solve()
        weights.append(weights_of(solver.net))
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_probes_are_written_where_they_were_measured(tmp_path: Path) -> None:
    solver = toy_solver(max_iter=6, display=4)
    probes = ProbeObserver([create("weight_norm", {"every": 2})])
    solver.observers += [probes, meter := Meter(), TensorBoardObserver(tmp_path, meter)]
    solver.solve()
    name = "probe/weight_norm/ip"
    assert name in probes.series()
    iterations, values = probes.series()[name]
    assert curve(tmp_path, name) == pytest.approx(dict(zip(iterations, values, strict=True)), rel=1e-6)
    assert iterations == [0, 2, 4, 6]


def test_resumed_run_replaces_what_came_after(work: Path, dragon: Dragon) -> None:
    train = ["train", "--solver", "solver.prototxt", "--tensorboard", "tb", "--engine", "numpy"]
    train += ["--probe", "weight_norm:every=5"]
    assert dragon(*train).code == 0
    before = curve(work / "tb", "train/loss")
    edit(work / "solver.prototxt", "display: 5", "display: 3")
    assert dragon(*train, "--snapshot", "out/x_iter_10.solverstate").code == 0
    after = curve(work / "tb", "train/loss")
    assert list(before) == [0, 5, 10, 15, 20]
    assert list(after) == [0, 5, 12, 15, 18, 20]
    assert list(curve(work / "tb", "probe/weight_norm/ip")) == [0, 5, 10, 15, 20]


def test_without_display_there_is_a_loss_at_tests(work: Path, dragon: Dragon) -> None:
    edit(work / "solver.prototxt", "display: 5", "display: 0")
    assert dragon("train", "--solver", "solver.prototxt", "--tensorboard", "tb", "--engine", "numpy").code == 0
    assert list(curve(work / "tb", "train/loss")) == [10, 20]


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file.histogram("a", np.array([1.0, np.nan, np.inf, 2.0]), 1)
    file.histogram("b", np.array([np.nan]), 1)
    file.histogram("large", np.arange(1_000_000.0), 1)
    file.close()
    found = loaded(tmp_path)
    assert set(found.Tags()["histograms"]) == {"a", "large"}
    assert found.Histograms("a")[0].histogram_value.num == 2
    assert found.Histograms("large")[0].histogram_value.num == 50_000


def test_files_of_one_second_have_names_of_their_own(tmp_path: Path) -> None:
    for _ in range(3):
        EventFile(tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("command", ["train --solver solver.prototxt", "compare solver.prototxt"])
def test_missing_package_is_one_line(command: str, work: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboardX", "tensorboardX.proto"):
        monkeypatch.setitem(sys.modules, name, None)
    result = dragon(*command.split(), "--tensorboard", "tb")
    assert (result.code, len(result.err.splitlines())) == (2, 1), result.err
    assert 'event files need a package: pip install "dragon-caffe[tensorboard]"' in result.err
    assert not (work / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_line(work: Path, dragon: Dragon) -> None:
    (work / "tb").write_text("")
    result = dragon("train", "--solver", "solver.prototxt", "--tensorboard", "tb", "--engine", "numpy")
    assert result.code == 2
    assert "tb" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err
