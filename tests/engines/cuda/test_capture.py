"""How work is captured: the mode, memory and garbage, and what a capture that fails leaves."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.device import graphs
from dragon.engines.cuda.kernels.kernel import Kernel
from dragon.errors import EngineError
from tests.engines.cuda.emulation import standin, streams
from tests.engines.cuda.running import compare
from tests.engines.cuda.test_engine import solver_of
from tests.engines.cuda.test_iteration import CAPTURED, state

pytestmark = pytest.mark.usefixtures("emulated")


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """For each capture its mode, and whether the garbage collector is on."""
    found: list[Any] = []
    begin = standin.Stream.begin_capture

    def recorded(self: standin.Stream, mode: int | None = None) -> None:
        found.append((mode, gc.isenabled()))
        begin(self, mode)

    monkeypatch.setattr(standin.Stream, "begin_capture", recorded)
    return found


def test_a_capture_is_relaxed_and_collects_no_garbage(captures: list[Any]) -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED)
    assert state(solver) == "graph"
    assert captures
    assert set(captures) == {(streams.RELAXED, False)}
    assert gc.isenabled()


def test_garbage_and_free_memory_go_before_the_graph_takes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Garbage:
        def __init__(self) -> None:
            self.itself = self

    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED - 1)
    monkeypatch.setattr(graphs, "COLLECT_SECONDS", 0.0)
    gone = weakref.ref(Garbage())
    standin.counts.clear()
    gc.disable()
    try:
        solver.step(1)
        assert not gc.isenabled()  # as it was
    finally:
        gc.enable()
    assert gone() is None
    assert standin.counts["pools emptied"] == 1


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, kernel: str = "check_loss") -> None:
    """A kernel raises while a stream is captured."""
    call = Kernel.__call__

    def fail(self: Kernel, *args: Any, **arguments: Any) -> None:
        if self.name == kernel and streams.capturing() is not None:
            raise error
        call(self, *args, **arguments)

    monkeypatch.setattr(Kernel, "__call__", fail)


@pytest.mark.parametrize(
    "error",
    [
        EngineError("cuDNN cannot compute it"), RuntimeError("cuDNN cannot compute it\nmore"),
        MemoryError("cuDNN cannot compute it"), AttributeError("cuDNN cannot compute it"),
    ],
)  # fmt: skip
def test_a_capture_that_fails_is_reported_and_the_rest_is_right(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing(monkeypatch, error)
    solvers = [solver_of(engine, "momentum: 0.9") for engine in ("numpy", "cuda")]
    with caplog.at_level(logging.WARNING, logger="dragon"):
        for solver in solvers:
            solver.step(7)
    assert state(solvers[1]) == "in parts: cuDNN cannot compute it"
    (record,) = caplog.records
    assert record.getMessage() == "whole iteration is not replayed as a CUDA graph: cuDNN cannot compute it"
    assert gc.isenabled()
    compare(solvers[1].net, solvers[0].net, "after", 2e-3, diffs=False)


def test_a_reason_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    failing(monkeypatch, RuntimeError("not now"))
    solver = solver_of("cuda", "momentum: 0.9")
    with caplog.at_level(logging.WARNING, logger="dragon"):
        for number in (3, 4):
            solver.step(4)
            solver.net.blobs["data"].reshape(number, 3, 6, 6)
            solver.net.blobs["label"].reshape(number)
    assert len(caplog.records) == 1


def test_an_error_of_the_run_before_the_capture_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED - 1)
    call = Kernel.__call__

    def fail(self: Kernel, *args: Any, **arguments: Any) -> None:
        if self.name == "check_loss":
            raise RuntimeError("an illegal memory access")
        call(self, *args, **arguments)

    monkeypatch.setattr(Kernel, "__call__", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        solver.step(1)


def test_a_graph_that_is_dropped_takes_its_memory_with_it() -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED + 1)
    before = set(standin.MemoryPool.alive)
    pool = weakref.ref(solver.net.executor.graphs.iteration._pool)  # type: ignore[attr-defined]
    assert pool() in before
    del before
    gc.disable()  # it takes no garbage collection
    try:
        solver.net.blobs["data"].reshape(5, 3, 6, 6)
        solver.net.blobs["label"].reshape(5)
        solver.net.blobs["data"].data[...] = np.ones((5, 3, 6, 6), np.float32)
        solver.step(1)
        assert pool() is None
    finally:
        gc.enable()
