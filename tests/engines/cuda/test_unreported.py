"""Replays look at reported storages only: what a script does between two steps is reported; what is not, is found.

The check itself runs in all tests of the engine (emulation/unreported.py).
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dragon.engines import Options
from dragon.graph.net import Net
from dragon.memory.storage import Storage
from dragon.solver.solver import Solver
from tests.engines.cuda.emulation.unreported import UnreportedError
from tests.engines.cuda.running import compare
from tests.engines.cuda.test_engine import solver_of
from tests.engines.cuda.test_iteration import CAPTURED, state
from tests.engines.cuda.training import RESIDUAL, executor_of, values
from tests.engines.cuda.training import solver_of as residual_solver

kept: list[Any] = []


def write(solver: Solver) -> None:
    solver.net.params["ip"][0].data[...] *= 0.5


def overwrite(solver: Solver) -> None:
    blob = solver.net.params["ip"][0]
    blob.data_storage.overwrite()[: blob.count] = 0.25


def read(solver: Solver) -> None:
    solver.net.params["ip"][0].peek()


def hold(solver: Solver) -> None:
    kept.append(solver.net.params["ip"][1].data)
    solver.step(1)
    kept[-1][...] += 0.5


def set_history(solver: Solver) -> None:
    solver.updater.history[0][0].data[...] = 0.1


def compute_elsewhere(solver: Solver) -> None:
    """Another engine writes the storage: that of a net that shares it."""
    other = Net(solver.net.param, phase=0, engine="numpy")
    other.share_with(solver.net)
    other.params["ip"][0].data[...] *= 0.5


ACTIONS = [write, overwrite, read, hold, set_history, compute_elsewhere]


@pytest.fixture(autouse=True)
def nothing_kept() -> Any:
    kept.clear()
    yield
    kept.clear()


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("action", ACTIONS)
def test_what_a_script_does_between_replays_is_seen(action: Callable[[Solver], None]) -> None:
    solvers = [solver_of(engine, "momentum: 0.9") for engine in ("numpy", "cuda")]
    for solver in solvers:
        solver.step(CAPTURED + 1)
        action(solver)
        solver.step(2)
    assert state(solvers[1]) == "graph"
    compare(solvers[1].net, solvers[0].net, "after", 2e-3, diffs=False)


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("action", ACTIONS)
def test_a_change_that_is_not_reported_is_found(
    action: Callable[[Solver], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED + 1)

    def go_on() -> None:
        with monkeypatch.context() as planted:
            planted.setattr(Storage, "_report", lambda self: None)
            action(solver)
        solver.step(1)

    with pytest.raises(UnreportedError):
        go_on()


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_replay_looks_at_no_storage_when_nothing_has_changed(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = residual_solver(RESIDUAL, options=Options(precision=precision))
    solver.step(CAPTURED + 2)
    executor = executor_of(solver)
    looked_at: list[Storage] = []
    for name in ("wrote", "read", "sync", "mark_fresh", "watch", "notify_watchers"):
        original = getattr(Storage, name)

        def counted(self: Storage, *args: Any, original: Callable[..., Any] = original) -> Any:
            looked_at.append(self)
            return original(self, *args)

        monkeypatch.setattr(Storage, name, counted)
    assert executor.whole_step(solver.updater, 0.05, solver.iter) is not None
    assert looked_at == []


@pytest.mark.usefixtures("cuda")
def test_nothing_follows_a_storage_once_its_users_are_gone() -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED + 1)
    storage = solver.net.params["ip"][0].data_storage
    assert storage._followers
    gone = weakref.ref(solver.net)
    del solver
    gc.collect()
    assert gone() is None
    assert storage._followers == ()


@pytest.mark.usefixtures("cuda")
def test_a_test_net_beside_sees_what_a_replay_writes() -> None:
    """Statistics and weights are shared; what the test net has read is saved before a replay changes it."""
    solver = residual_solver(RESIDUAL)
    test = Net(solver.net.param, phase=1, engine="cuda")
    test.share_with(solver.net)
    twin = Net(solver.net.param, phase=1, engine="numpy")
    for _ in range(CAPTURED + 3):
        solver.step(1)
        for net in (test, twin):
            for name, array in values(7).items():
                net.blobs[name].data[...] = array
        for name, blobs in solver.net.params.items():
            for own, blob in zip(twin.params[name], blobs, strict=True):
                own.data[...] = blob.peek()
        test.forward()
        twin.forward()
        np.testing.assert_allclose(test.blobs["loss"].peek(), twin.blobs["loss"].peek(), rtol=1e-4)
