"""Writes that fail, each in turn: training goes on without its log, or ends in one line; no file is half there."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers
from dragon.solver.solver import Solver
from dragon.tools.observers.metrics import MetricsObserver
from tests.tools.conftest import NO_PICTURES, Dragon, edit

TRAIN = ("train", "--solver", "solver.prototxt", "--engine", "numpy")


def fill_disk(monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """Let all writes after the next `left` fail as on a full disk."""
    original = io.open

    class Raw(io.FileIO):
        def write(self, data: Any) -> int:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def opening(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, int) or not set(mode) & set("wa") or "b" not in mode:
            return original(file, mode, *args, **kwargs)
        return io.BufferedWriter(Raw(file, mode.replace("b", "")), 64)

    monkeypatch.setattr(io, "open", opening)
    monkeypatch.setattr(io, "FileIO", Raw)


def whole(folder: Path) -> None:
    """Whatever snapshot is there can be read to its end, and nothing temporary is left."""
    for path in folder.rglob("*"):
        if path.name.endswith(".caffemodel"):
            assert list(iter_layers(path)), path
        elif path.name.endswith(".solverstate"):
            assert pb.SolverState.FromString(path.read_bytes()).HasField("iter"), path
        elif path.suffix == ".jsonl":
            for line in path.read_text().splitlines()[:-1]:
                assert not line or json.loads(line), path
        assert not path.name.startswith("."), path


@pytest.mark.parametrize("left", [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 25, 40, 80, 160])
def test_a_full_disk_at_each_write(
    work: Path, dragon: Dragon, pictures: None, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    with monkeypatch.context() as patch:
        fill_disk(patch, left)
        result = dragon(*TRAIN)
    assert result.code in (0, 2), result.err
    assert "Traceback" not in result.err
    assert "fault in Dragon" not in result.err
    if result.code:
        assert "No space left on device" in result.err.splitlines()[-1], result.err
    whole(work)


def test_metrics_that_cannot_be_written_do_not_end_the_training(
    work: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 6")
    original = MetricsObserver.on_start

    def on_start(self: MetricsObserver, solver: Solver) -> None:
        original(self, solver)
        assert self._file is not None
        self._file.close()
        self._file = io.FileIO("/dev/full", "w")

    monkeypatch.setattr(MetricsObserver, "on_start", on_start)
    result = dragon(*TRAIN, "--output", "m")
    assert result.code == 0, result.err
    assert result.err.count("metrics.jsonl cannot be written (No space left on device); training goes on") == 1
    assert list((work / "out").glob("x_iter_6.solverstate"))


def test_a_log_that_cannot_be_written_does_not_end_the_training(work: Path) -> None:
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 6")
    root = str(Path(__file__).resolve().parents[2])
    code = (
        f"import sys; sys.path.insert(0, {root!r})\n{NO_PICTURES}from dragon.tools.main import main; main(sys.argv[1:])"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code, *TRAIN], stdout=full, stderr=full, cwd=work, timeout=120)
    assert list((work / "out").glob("x_iter_6.solverstate")), done.returncode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["device"], ["summarize", "--model", "net.prototxt"], ["layers", "ReLU"]])
def test_an_output_that_cannot_be_written_is_named(work: Path, words: list[str]) -> None:
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from dragon.tools.main import main; main(sys.argv[1:])"
    run = [sys.executable, "-c", code, *words]
    with open("/dev/full", "w") as full:
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, cwd=work, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "dragon: error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_training_without_standard_streams(work: Path, closed: str) -> None:
    """Files do not get the numbers of closed streams: what a signal prints would be written into one of them."""
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 6")
    root = str(Path(__file__).resolve().parents[2])
    code = (
        f"import os, sys; sys.path.insert(0, {root!r}); from dragon.tools.main import open_missing_streams, main; "
        f"open_missing_streams(); assert open(os.devnull).fileno() > 2\n{NO_PICTURES}main(sys.argv[1:])"
    )
    script = f'exec "$@" {closed}'
    done = subprocess.run(["sh", "-c", script, "sh", sys.executable, "-c", code, *TRAIN], cwd=work, timeout=120)
    assert done.returncode == 0
    assert list((work / "out").glob("x_iter_6.solverstate"))


@pytest.mark.parametrize("fails", [False, True])
def test_the_metrics_say_how_a_run_ended(work: Path, dragon: Dragon, fails: bool) -> None:
    edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 6")
    if fails:
        edit(work / "solver.prototxt", "base_lr: ", "base_lr: 1e30 # ")
    result = dragon(*TRAIN, "--output", "m")
    assert result.code == (2 if fails else 0)
    end = json.loads((work / "m" / "metrics.jsonl").read_text().splitlines()[-1])
    assert end["event"] == "end"
    assert end["status"] == ("failed" if fails else "finished")
    assert ("a lower base_lr than 1e+30" in end.get("error", "")) == fails


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("max_iter: 20", "", "max_iter is not set: nothing is trained"),
        ("test_interval: 10", "", "test_iter is set but test_interval is not: the net is never tested"),
    ],
)
def test_what_a_solver_leaves_out_is_a_warning(work: Path, dragon: Dragon, old: str, new: str, warning: str) -> None:
    edit(work / "solver.prototxt", old, new)
    if "max_iter" not in old:
        edit(work / "solver.prototxt", "max_iter: 20", "max_iter: 1")
    result = dragon(*TRAIN)
    assert result.code == 0, result.err
    assert f"solver.prototxt: {warning}" in result.err


def test_a_net_in_which_nothing_learns_is_a_warning(work: Path, dragon: Dragon) -> None:
    warning = "nothing learns in this net: every lr_mult is 0"
    assert warning not in dragon(*TRAIN, "--iterations", "1").err
    text = (work / "net.prototxt").read_text()
    for kind, blobs in (("Convolution", 1), ("BN", 2), ("InnerProduct", 2)):
        text = text.replace(f'type: "{kind}"', f'type: "{kind}" ' + "param { lr_mult: 0 } " * blobs)
    (work / "net.prototxt").write_text(text)
    result = dragon(*TRAIN, "--iterations", "1")
    assert (result.code, warning in result.err) == (0, True), result.err
