"""Kill -9 in training and in the middle of a snapshot: what is left is whole, and going on from it is exact."""

from __future__ import annotations

import signal
from pathlib import Path

import h5py
import pytest

from dragon.proto import dragon_pb2 as pb
from tests.tools.conftest import Dragon, Start, edit

# The process kills itself, so that it always happens at the same place.
IN_TRAINING = """
import os, signal
import dragon.solver.loop as loop
original = loop._record_loss
def record_loss(solver, loss):
    if solver.iter == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(solver, loss)
loop._record_loss = record_loss
"""
# A snapshot calls fsync on the weights, their folder, the state, its folder. At the chosen call the file is halved.
IN_SNAPSHOT = """
import os, signal, stat
import dragon.solver.snapshot as snapshot
original, fsync, calls = snapshot.write_snapshot, os.fsync, [0]
def deadly(handle):
    calls[0] += 1
    if calls[0] == {call}:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            os.truncate(os.readlink(f"/proc/self/fd/{{handle}}"), os.fstat(handle).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(handle)
def write_snapshot(solver):
    if solver.iter == 15:
        os.fsync = deadly
    return original(solver)
snapshot.write_snapshot = write_snapshot
"""
KILLS = {
    "training": (IN_TRAINING, {5, 10}, {5, 10}),
    "half of the weights written": (IN_SNAPSHOT.format(call=1), {5, 10}, {5, 10}),
    "weights there, no state": (IN_SNAPSHOT.format(call=2), {5, 10, 15}, {5, 10}),
    "half of the state written": (IN_SNAPSHOT.format(call=3), {5, 10, 15}, {5, 10}),
    "state there": (IN_SNAPSHOT.format(call=4), {5, 10, 15}, {5, 10, 15}),
}
TRAIN = ("train", "--solver", "solver.prototxt", "--threads", "1", "--engine")


def iterations(folder: Path, kind: str) -> dict[int, Path]:
    """The snapshots a user would find, by iteration."""
    return {int(p.name.split("_iter_")[1].split(".")[0]): p for p in folder.glob(f"x_iter_*.{kind}*")}


def content(path: Path) -> object:
    """What a snapshot file holds, but for the folder it was written to."""
    if path.name.endswith(".caffemodel"):
        return path.read_bytes()
    if path.suffix != ".h5":
        return _state(path.read_bytes())
    found: dict[str, object] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and name != "learned_net":
            value = item[()].tobytes()
            found[name] = _state(value) if name == "dragon" else value

    with h5py.File(path) as file:
        file.visititems(visit)
    assert found
    return found


def _state(content: bytes) -> pb.SolverState:
    state = pb.SolverState.FromString(content)
    state.learned_net = Path(state.learned_net).name
    return state


Uninterrupted = dict[tuple[str, str], Path]
CASES = [(form, "numpy", kill) for form in ("BINARYPROTO", "HDF5") for kill in KILLS]


@pytest.fixture(scope="module")
def uninterrupted() -> Uninterrupted:
    """By format and engine, the folder with the snapshots of a training that nobody killed; filled by who needs it."""
    return {}


@pytest.mark.parametrize(("form", "engine", "kill"), [*CASES, ("BINARYPROTO", "onednn", "training")])
def test_killed_and_resumed(
    work: Path, dragon: Dragon, start: Start, uninterrupted: Uninterrupted, form: str, engine: str, kill: str
) -> None:
    before, models, states = KILLS[kill]
    edit(work / "solver.prototxt", "random_seed", f"snapshot_format: {form} random_seed")
    if (form, engine) not in uninterrupted:
        edit(work / "solver.prototxt", '"out/x"', '"whole/x"')
        assert dragon(*TRAIN, engine).code == 0
        edit(work / "solver.prototxt", '"whole/x"', '"out/x"')
        uninterrupted[form, engine] = work / "whole"
    process = start(*TRAIN, engine, before=before)
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    out, whole = work / "out", uninterrupted[form, engine]
    assert iterations(out, "caffemodel").keys() == models
    assert iterations(out, "solverstate").keys() == states
    for kind in ("caffemodel", "solverstate"):
        for iteration, path in iterations(out, kind).items():
            assert content(path) == content(iterations(whole, kind)[iteration])

    last = iterations(out, "solverstate")[max(states)]
    result = dragon(*TRAIN, engine, "--snapshot", str(last.relative_to(work)))
    assert result.code == 0, result.err
    for kind in ("caffemodel", "solverstate"):
        assert content(iterations(out, kind)[20]) == content(iterations(whole, kind)[20])
