"""`dragon train --ranks N --restart K` starts ranks, names one that dies, and goes on from the last snapshot."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.parallel.kills import MIDDLE, Training, disturb
from tests.parallel.test_train import equal, lmdb, needs_mpi, ranks_of, solver, train, weights

__all__ = ["lmdb"]

pytestmark = [
    pytest.mark.slow,
    needs_mpi,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"),
]
LONG: dict[str, Any] = {"max_iter": 1_000_000, "snapshot": 0, "base_lr": 0.0001, "display": 10}
NO_MPIRUN: dict[str, Any] = {"max_iter": 40, "snapshot": 10, "base_lr": 0.0001, "display": 10}


@contextmanager
def running(*words: object, mark: str, cwd: Path | None = None) -> Iterator[Training]:
    training = Training(*words, mark=mark, cwd=cwd)
    try:
        yield training
    finally:
        training.close()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_ranks_that_it_starts_do_what_those_of_mpirun_do(tmp_path: Path, lmdb: Path) -> None:
    own, by_mpirun = tmp_path / "own", tmp_path / "by_mpirun"
    done = train(1, solver(own, lmdb, 10, MIDDLE, **NO_MPIRUN), "--ranks", 2)
    assert done.returncode == 0, done.stderr
    assert "2 ranks: 10 images in a batch of each, 20 of all" in done.stderr
    assert "dragon-rank:" not in done.stdout + done.stderr
    assert "--no-run --engine numpy --ranks 2 --snapshot" in done.stderr  # how to go on
    assert train(2, solver(by_mpirun, lmdb, 10, MIDDLE, **NO_MPIRUN)).returncode == 0
    equal(weights(own, 40), weights(by_mpirun, 40))


def test_a_killed_rank_is_one_line(tmp_path: Path, lmdb: Path) -> None:
    path = solver(tmp_path / "run", lmdb, 10, **LONG)
    with running("--solver", path, "--no-run", "--ranks", 2, mark=str(path)) as training:
        training.wait_for("Iteration 10 ")
        pid = ranks_of(str(path))[1]
        os.kill(pid, signal.SIGKILL)
        assert training.end(30) == 2
        last = training.said.splitlines()[-1]
        assert last.startswith(f"dragon: error: rank 1 of 2 (process {pid} on ")
        assert last.endswith(") was killed by signal 9 (SIGKILL)")
        assert training.said.count("dragon: ") == 1
        assert "BAD TERMINATION" not in training.said
        assert not ranks_of(str(path))


def test_restarts_are_counted(tmp_path: Path, lmdb: Path) -> None:
    path = solver(tmp_path / "run", lmdb, 10, **LONG)
    with running("--solver", path, "--no-run", "--ranks", 2, "--restart", 1, mark=str(path)) as training:
        for k in range(2):
            training.wait_for("Iteration 10 ", k + 1)
            os.kill(ranks_of(str(path))[k], signal.SIGSEGV)
        assert training.end(60) == 2
    own = [line for line in training.said.splitlines() if line.startswith("dragon: ")]
    assert len(own) == 2
    assert own[0].startswith("dragon: warning: rank 0 of 2")
    assert own[0].endswith("(SIGSEGV); restart 1 of 1 from the beginning, as there is no snapshot yet")
    assert own[1].startswith("dragon: error: rank 1 of 2")


def test_one_rank_needs_no_mpi(tmp_path: Path, lmdb: Path) -> None:
    path = solver(tmp_path / "run", lmdb, 10, **LONG | {"snapshot": 10})
    with running("--solver", path, "--no-run", "--restart", 1, mark=str(path)) as training:
        training.wait_for("Iteration 20 ")
        watcher = children(training.process.pid)[0]
        pid = children(watcher)[0]
        os.kill(pid, signal.SIGKILL)
        training.wait_for("Resuming at iteration ")
        assert f"rank 0 of 1 (process {pid} on " in training.said
        training.process.send_signal(signal.SIGTERM)
        assert training.end(60) == 0


def test_a_few_kills_leave_the_weights_as_they_would_have_been(tmp_path: Path, lmdb: Path) -> None:
    settings: dict[str, Any] = {"max_iter": 400, "snapshot": 20, "display": 0, "base_lr": 0.0001}
    assert train(2, solver(tmp_path / "quiet", lmdb, 10, MIDDLE, **settings)).returncode == 0
    found = disturb(solver(tmp_path / "run", lmdb, 10, MIDDLE, **settings), 2, 3, random.Random(4), 4)
    assert found.named == len(found.killed)
    equal(weights(tmp_path / "run", 400), weights(tmp_path / "quiet", 400))


def test_snapshots_of_an_earlier_training_do_not_count(tmp_path: Path, lmdb: Path) -> None:
    folder = tmp_path / "run"
    path = solver(folder, lmdb, 10, **NO_MPIRUN)
    assert train(1, path).returncode == 0  # leaves snapshots of iterations 10 to 40
    path.write_text(
        path.read_text().replace("max_iter: 40", "max_iter: 1000000").replace("snapshot: 10", "snapshot: 0")
    )
    with running("--solver", path, "--no-run", "--ranks", 2, "--restart", 1, mark=str(path)) as training:
        training.wait_for("Iteration 10 ")
        os.kill(ranks_of(str(path))[0], signal.SIGKILL)
        training.wait_for("Iteration 10 ", 2)
    assert "from the beginning, as there is no snapshot yet" in training.said
    assert "Resuming" not in training.said


@pytest.mark.parametrize("snapshots", [0, 10])
def test_a_run_goes_on_in_its_own_folder(tmp_path: Path, lmdb: Path, snapshots: int) -> None:
    path = solver(tmp_path / "net", lmdb, 10, **LONG | {"snapshot": snapshots})
    path.write_text(path.read_text().replace("snapshot_prefix", "# snapshot_prefix"))
    words = "--solver", path, "--ranks", 2, "--restart", 1, "--iterations", 100_000, "--set", "base_lr=0.0002"
    with running(*words, mark=str(path), cwd=tmp_path) as training:
        training.wait_for("Iteration 20 ")
        os.kill(ranks_of(str(path))[1], signal.SIGKILL)
        training.wait_for("restart 1 of 1")
        training.wait_for("lr = 0.0002", training.said.count("lr = 0.0002") + 2)
        training.process.send_signal(signal.SIGINT)
        assert training.end(60) == 0
    assert ("Resuming at iteration" in training.said) == bool(snapshots)
    assert [found.name for found in (tmp_path / "runs" / "net").iterdir()] == ["1"]
    assert training.said.count("lr = 0.0002") >= 3
    (go_on,) = [line for line in training.said.splitlines() if "To go on: dragon train --resume runs/net/1 " in line]
    assert " --ranks 2" in go_on


def test_the_end_of_the_starter_ends_the_ranks(tmp_path: Path, lmdb: Path) -> None:
    path = solver(tmp_path / "run", lmdb, 10, **LONG)
    with running("--solver", path, "--no-run", "--ranks", 2, mark=str(path)) as training:
        training.wait_for("Iteration 10 ")
        os.kill(training.process.pid, signal.SIGKILL)
        training.end(60)
        end = 300
        while ranks_of(str(path)) and (end := end - 1):
            time.sleep(0.1)
        assert not ranks_of(str(path))


def test_an_error_that_would_come_again_is_one_line_and_no_restart(tmp_path: Path, lmdb: Path) -> None:
    path = solver(tmp_path / "run", lmdb, 10, max_iter=20)
    net = path.with_name("net.prototxt")
    net.write_text(net.read_text().replace("SoftmaxWithLoss", "SoftmaxWithLos"))
    done = train(1, path, "--ranks", 2, "--restart", 3)
    assert done.returncode == 2
    assert done.stderr.count("dragon: ") == 1
    assert 'unknown layer type "SoftmaxWithLos"' in done.stderr
