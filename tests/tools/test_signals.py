from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tools.conftest import Dragon, Start, edit

SLOW = """
import sys, time
from dragon.solver.processes import Processes
original = Processes.forward_backward
def forward_backward(self, iter_size):
    print("in an iteration", file=sys.stderr, flush=True)
    time.sleep({seconds})
    return original(self, iter_size)
Processes.forward_backward = forward_backward
"""
AT_THE_FIRST_LINES = """
import os, signal
from dragon.tools.runs import session
original = session._opening
def opening(solver):
    yield from original(solver)
    os.kill(os.getpid(), signal.{name})
session._opening = opening
"""
TRAIN = ("train", "-solver", "solver.prototxt", "--engine", "numpy")


def started(start: Start, *more: str, seconds: float = 0.02) -> subprocess.Popen[str]:
    """A run that is in its first iterations."""
    process = start(*TRAIN, *more, before=SLOW.format(seconds=seconds))
    assert process.stderr is not None
    for line in process.stderr:
        if line == "in an iteration\n":
            return process
    raise AssertionError(f"ended with {process.wait()}")


def wait_for(pattern: str, folder: Path) -> Path:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = list(folder.glob(pattern))
        if found:
            return found[0]
        time.sleep(0.01)
    raise AssertionError(f"no {pattern} came")


@pytest.fixture(autouse=True)
def long_run(work: Path) -> None:
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 100000")
    edit(work / "solver.prototxt", "snapshot: 5", "snapshot: 0")
    edit(work / "solver.prototxt", "display: 5", "display: 1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_writes_a_snapshot_that_can_be_resumed(
    work: Path, start: Start, dragon: Dragon, number: signal.Signals
) -> None:
    process = started(start)
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Optimization stopped early." in log
    state = wait_for("x_iter_*.solverstate", work / "out")
    iteration = int(state.stem.split("_")[-1])
    result = dragon(*TRAIN, "--snapshot", str(state), "--iterations", str(iteration + 2))
    assert result.code == 0
    assert f"Resuming at iteration {iteration}" in result.err or iteration == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_before_the_first_iteration(work: Path, start: Start, number: signal.Signals) -> None:
    process = start(*TRAIN, before=AT_THE_FIRST_LINES.format(name=number.name))
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Stopped at iteration 0 after" in log
    assert (work / "out" / "x_iter_0.solverstate").is_file()


def test_hangup_writes_a_snapshot_and_goes_on(work: Path, start: Start) -> None:
    process = started(start)
    process.send_signal(signal.SIGHUP)
    wait_for("x_iter_*.solverstate", work / "out")
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert log.count("Snapshotting solver state") == 2


def test_effects_can_be_chosen(work: Path, start: Start) -> None:
    process = started(start, "-sigint_effect", "snapshot", "--sighup-effect=none")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    wait_for("x_iter_*.solverstate", work / "out")
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert (process.returncode, log.count("Snapshotting solver state")) == (0, 2)


def test_a_second_interrupt_ends_the_run_at_once(work: Path, start: Start) -> None:
    process = started(start, seconds=60)
    process.send_signal(signal.SIGINT)
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=20)
    assert process.returncode == 130
    assert log.splitlines()[-1] == "dragon: interrupted"
    assert "Traceback" not in log


def test_the_effect_of_an_interrupt_is_printed_at_once(work: Path, start: Start) -> None:
    process = started(start, seconds=60)
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    line = next(line for line in process.stderr if line.startswith("dragon: "))
    assert line == (
        "dragon: stopping after this iteration, with a snapshot; Ctrl-C once more ends at once, without one\n"
    )
    process.kill()
    process.communicate(timeout=20)


def test_a_second_interrupt_within_a_second_loses_no_snapshot(work: Path, start: Start) -> None:
    process = started(start, seconds=0.8)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert list((work / "out").glob("x_iter_*.solverstate"))
