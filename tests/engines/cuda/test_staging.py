"""One copy sends all small values that the host sets before a run: rate, number of the step, random draws, windows."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from dragon.engines.cuda.device.gpu import open_gpu
from dragon.engines.cuda.device.pinned import Pinned
from dragon.engines.cuda.device.staging import BYTES, MOST
from tests.engines.cuda.running import compare, inputs
from tests.engines.cuda.test_engine import NET, solver_of
from tests.engines.cuda.test_iteration import CAPTURED
from tests.engines.cuda.training import BRANCHES, values
from tests.engines.cuda.training import solver_of as training_solver

pytestmark = pytest.mark.usefixtures("cuda")
INPUTS = inputs({"data": (4, 3, 6, 6), "label": (4,)})
DROPOUT = 'layer { name: "drop%d" bottom: "data" top: "data" type: "Dropout" }'


def test_what_is_set_arrives_with_the_next_send() -> None:
    gpu = open_gpu(0)
    with gpu.active():
        arrays = [gpu.staged(count, dtype) for count, dtype in ((3, np.uint64), (5, np.float64), (7, np.int32))]
        for round_ in range(3):
            for k, staged in enumerate(arrays):
                staged.set(np.full(staged.array.size, 10 * round_ + k, staged.array.dtype))
            gpu.send_staged()
            arrays[0].set(np.zeros(3, np.uint64))  # behind the copy
            for k, staged in enumerate(arrays):
                assert (staged.array.get() == 10 * round_ + k).all()
        gpu.send_staged()
        assert (arrays[0].array.get() == 0).all()
        assert (arrays[1].array.get() == 21).all()


@pytest.mark.usefixtures("emulated")
def test_without_the_wait_a_value_is_overwritten_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pinned, "wait", lambda self: None)
    gpu = open_gpu(0)
    with gpu.active():
        staged = gpu.staged(3, np.float64)
        staged.set(np.ones(3))
        gpu.send_staged()
        staged.set(np.zeros(3))
        assert (staged.array.get() == 0).all()


def test_large_values_are_sent_by_themselves_and_so_are_those_that_find_no_place() -> None:
    gpu = open_gpu(0)
    with gpu.active():
        arrays = [
            gpu.staged(MOST // 4 + 1, np.int32),
            *(gpu.staged(MOST // 4, np.int32) for _ in range(BYTES // MOST + 1)),
        ]
        for k, staged in enumerate(arrays):
            staged.set(np.full(staged.array.size, k, np.int32))
        gpu.send_staged()
        assert [int(staged.array.get().max()) for staged in arrays] == list(range(len(arrays)))
        assert [int(staged.array.get().min()) for staged in arrays] == list(range(len(arrays)))


def test_the_place_of_an_array_that_is_gone_is_used_again() -> None:
    gpu = open_gpu(0)
    with gpu.active():
        first = gpu.staged(5, np.float64)
        start = first.array.data.ptr
        gone = weakref.ref(first)
        del first
        gc.collect()
        assert gone() is None
        assert gpu.staged(5, np.float64).array.data.ptr == start


@pytest.mark.usefixtures("emulated")
def test_one_copy_for_each_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = solver_of("cuda", "momentum: 0.9", text=INPUTS + "".join(DROPOUT % k for k in range(3)) + NET)
    solver.step(CAPTURED + 1)
    sent: list[Pinned] = []
    send = Pinned.send

    def counted(self: Pinned, *rest: Any) -> None:
        sent.append(self)
        send(self, *rest)

    monkeypatch.setattr(Pinned, "send", counted)
    uploads: list[Any] = []
    monkeypatch.setattr(type(open_gpu(0)), "upload", lambda self, *rest: uploads.append(rest))
    solver.step(4)
    assert len(sent) == 4
    assert uploads == []


def test_draws_and_rates_of_replays_are_those_of_the_reference() -> None:
    solvers = [solver_of(engine, "momentum: 0.9", text=INPUTS + DROPOUT % 0 + NET) for engine in ("numpy", "cuda")]
    for solver in solvers:
        solver.step(CAPTURED + 3)  # the rate changes after each second step
    compare(solvers[1].net, solvers[0].net, "after", 2e-3, diffs=False)


def test_two_nets_that_take_turns() -> None:
    """Both have their values in one block: what one sends leaves those of the other."""
    alone = training_solver(BRANCHES)
    turns = [training_solver(BRANCHES), training_solver(BRANCHES, rate=0.01)]
    for number in range(CAPTURED + 3):
        for solver in (alone, *turns):
            for name, array in values(number).items():
                solver.net.blobs[name].data[...] = array
        alone.step(1)
        for solver in turns:
            solver.step(1)
    for own, other in zip(alone.net.learnable, turns[0].net.learnable, strict=True):
        np.testing.assert_array_equal(own.blob.peek(), other.blob.peek())
