from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from dragon.errors import DataError
from dragon.files.caffe_log import read_log, write_tables
from dragon.solver.meter import Meter
from dragon.solver.solver import Solver
from dragon.tools.common.run_log import read_run, run_name
from dragon.tools.observers.metrics import read_records
from tests.tools.conftest import Dragon, edit

ITERATION_SECONDS = 2.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day, which logs and metrics note, goes on after each iteration and at no other moment."""
    now = [1.7e9]
    on_iteration = Meter.on_iteration

    def advance(meter: Meter, solver: Solver, loss: float, rate: float) -> None:
        now[0] += ITERATION_SECONDS
        on_iteration(meter, solver, loss, rate)

    monkeypatch.setattr(Meter, "on_iteration", advance)
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "time_ns", lambda: int(now[0] * 1e9))  # of a log record, from Python 3.13 on


@pytest.mark.usefixtures("clock")
def test_log_metrics_and_folder_agree(work: Path, dragon: Dragon) -> None:
    trained = dragon("train", "--solver", "solver.prototxt", "--output", "run")
    (work / "own.log").write_text(trained.out + trained.err)
    log, metrics, folder = read_log("own.log"), read_run("run/metrics.jsonl"), read_run("run")
    assert metrics == folder
    assert read_run("own.log").train == log.train
    assert (metrics.net, metrics.synthetic) == (log.net, log.synthetic) == ("small", True)
    for logged, recorded in ((log.train, metrics.train), (log.tests[0], metrics.tests[0])):
        assert [list(row) for row in logged] == [list(row) for row in recorded], "the same names"
        for a, b in zip(logged, recorded, strict=True):
            assert a == pytest.approx(b, rel=1e-5)
            assert a["Seconds"] == pytest.approx(ITERATION_SECONDS * a["NumIters"])


def test_a_resumed_run_overwrites_and_its_time_goes_on(tmp_path: Path) -> None:
    records = [
        {"event": "start", "iteration": 0, "time": 1000.0, "net": "n", "data": ["CIFAR-10"]},
        {"event": "test", "iteration": 0, "time": 1001.0, "net": 1, "outputs": {"acc": [0.5, None], "loss": 2.0}},
        {"event": "display", "iteration": 0, "time": 1002.0, "loss": 2.0, "lr": 0.5, "outputs": {}},
        {"event": "display", "iteration": 50, "time": 1010.0, "loss": None, "lr": 0.5, "outputs": {"loss": None}},
        {"event": "start", "iteration": 50, "time": 9000.0, "net": "n", "data": ["CIFAR-10"]},
        {"event": "display", "iteration": 50, "time": 9001.0, "loss": 1.0, "lr": 0.25, "outputs": {"loss": 1.5}},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    log = read_run(path)
    assert not log.synthetic
    assert [row["Seconds"] for row in log.train] == [2, 11]
    assert log.train[1] == {"NumIters": 50, "Seconds": 11, "LearningRate": 0.25, "smoothed_loss": 1.0, "loss": 1.5}
    test = log.tests[1][0]
    assert list(test) == ["NumIters", "Seconds", "LearningRate", "acc", "acc_1", "loss"]
    assert test["LearningRate"] == 0.5


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lenet").mkdir()
    monkeypatch.chdir(tmp_path / "lenet")
    assert run_name("a/train.log") == "train.log"
    assert run_name("a/bn/metrics.jsonl") == "bn"
    assert run_name(".") == run_name("metrics.jsonl") == "lenet"


def test_what_holds_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no metrics\.jsonl in it and no \.log"):
        read_run(tmp_path)
    (tmp_path / "only.log").write_text("Iteration 5, loss = 2\n")
    assert read_run(tmp_path).train[0]["smoothed_loss"] == 2
    (tmp_path / "second.log").write_text("")
    with pytest.raises(DataError, match="and 2 logs: name one"):
        read_run(tmp_path)
    (tmp_path / "bn").mkdir()
    (tmp_path / "bn" / "metrics.jsonl").write_text('{"event": "snapshot", "iteration": 3}\n{"ha')
    with pytest.raises(DataError, match=r"no metrics\.jsonl in it, but in .*bn$"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="no losses or tests"):
        read_run(tmp_path / "bn")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_run(tmp_path / "none")


def test_parse_log_of_a_folder(work: Path, dragon: Dragon) -> None:
    edit(work / "solver.prototxt", "net:", "iter_size: 2 net:")
    dragon("train", "--solver", "solver.prototxt", "--output", "run")
    result = dragon("parse-log", "run", "tables")
    assert result.out.splitlines() == ["tables/run.train: 5 rows", "tables/run.test: 3 rows"]
    assert (work / "tables/run.test").read_text().startswith("NumIters,Seconds,LearningRate,acc,loss\n0,")


def test_parse_log_of_a_numbered_run(work: Path, dragon: Dragon) -> None:
    assert dragon("train", "--solver", "solver.prototxt", "--run", "--iterations", "1").code == 0
    (run,) = (work / "runs").glob("*/1")
    result = dragon("parse-log", str(run.relative_to(work)))
    assert result.out.splitlines()[0].startswith(f"{run.parent.name}_1.train: "), result.err
    assert (work / f"{run.parent.name}_1.train").is_file()


@pytest.mark.parametrize(
    "odd",
    [
        '{"event": "display", "iteration": 1e999, "loss": 1}',
        '{"event": "display", "iteration": true, "loss": 1}',
        '{"event": "display", "iteration": -5, "loss": 1}',
        '{"event": "display", "iteration": ' + "9" * 400 + "}",
        '{"event": "display", "iteration": ' + "9" * 5000 + "}",
        '{"event": ["display"], "iteration": 1}',
        '{"event": "display", "iteration": 1, "x": ' + "[" * 100_000 + "}",
    ],
)
def test_odd_records_are_passed_over(odd: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"event": "display", "iteration": 1, "loss": 2.5}}\n{odd}\n')
    (row,) = read_run(tmp_path).train
    assert row["smoothed_loss"] == 2.5


@pytest.mark.parametrize("value", ["9" * 400, "1e999", "NaN", "[]", "{}", "5", "true", "null", '"x"', "[[1], {}]"])
def test_odd_values_of_a_record_are_not_numbers(value: str, tmp_path: Path) -> None:
    """And a run that goes on writes the records again."""
    line = f'{{"event": "start", "iteration": 0, "time": {value}, "net": {value}, "data": {value}}}\n'
    line += f'{{"event": "display", "iteration": 0, "lr": {value}, "loss": 2.5, "outputs": {{"a": {value}}}}}\n'
    line += f'{{"event": "test", "iteration": 0, "net": {value}, "outputs": {value}}}\n'
    (tmp_path / "metrics.jsonl").write_text(line)
    log = read_run(tmp_path)
    assert log.train[0]["smoothed_loss"] == 2.5
    write_tables(log, tmp_path, "t")
    assert len(json.dumps(read_records(tmp_path / "metrics.jsonl"), allow_nan=False)) > 100
