"""The documented rule of several ranks, done without MPI: ranks are threads, and sums have the order of the ranks.

A training on 2, then 3, then 1 ranks by MPI, each going on from the snapshot before, has the bits of that.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.parallel.ranks import Ranks
from dragon.solver.types import get_solver
from tests.parallel.test_train import BN, equal, lmdb, needs_mpi, solver, train, weights

__all__ = ["lmdb"]

pytestmark = [needs_mpi, pytest.mark.slow]
STEPS = 3


class Meeting:
    """Where the threads leave what they give each other."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=120)
        self.left: list[Any] = [None] * size

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.left[rank] = value
        self.barrier.wait()
        values = list(self.left)
        self.barrier.wait()
        return values


class Threads(Ranks):
    """A rank that is a thread. What it sends is added up in float32, rank after rank, then divided by their number."""

    def __init__(self, rank: int, size: int, meeting: Meeting, turn: int) -> None:
        self.rank, self.size, self.waited = rank, size, 0.0
        self._turn = turn
        self.groups = [range(size)]
        self.stepping, self.alone, self.on_gpu = False, "", None
        self._meeting = meeting

    def twin(self) -> None:
        return None

    def agree(self, value: Any) -> Any:
        return self.agree_all(value)[0]

    def agree_all(self, value: Any) -> list[Any]:
        return self._meeting.exchange(self.rank, value)

    def wait(self) -> None:
        self.agree_all(None)

    def gather(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.stack(self.agree_all(values.copy()))

    def add_up_by(self, way: str) -> None:
        pass

    def _reduce(self, values: NDArray[Any], wire: Any, mean: bool) -> None:
        rows = self.agree_all(values.copy())
        first, *others = rows[self._turn :] + rows[: self._turn]
        for row in others:
            first = first + row
        values[...] = first / values.dtype.type(self.size) if mean else first


def by_threads(path: Path, ranks: int, state: Path | None, sync_bn: bool, turn: int = 0) -> list[NDArray[np.float32]]:
    """The parameters of rank 0 after some iterations, from a snapshot or from the beginning.

    turn: the rank whose values are the first of each sum.
    """
    meeting = Meeting(ranks)
    found: list[list[NDArray[np.float32]]] = []
    errors: list[BaseException] = []

    def work(rank: int) -> None:
        together: dict[str, Any] = {}
        if ranks > 1:
            together = {"ranks": Threads(rank, ranks, meeting, turn), "divided": True, "sync_bn": sync_bn}
        try:
            with get_solver(str(path), engine="numpy", verbose=False, **together) as one:
                if state is not None:
                    one.restore(str(state))
                one.step(STEPS)
                if one.exchange is not None:
                    one.exchange.statistics()  # as before a snapshot
                if rank == 0:
                    found.append([blob.peek().ravel().copy() for blob, _ in one.net.owned])
        except BaseException as error:
            errors.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found[0]


@pytest.mark.parametrize(("middle", "words"), [("", []), (BN, ["--sync-bn"])], ids=["plain", "SyncBN"])
def test_two_then_three_then_one_rank(tmp_path: Path, lmdb: Path, middle: str, words: list[str]) -> None:
    path = solver(tmp_path / "run", lmdb, 18, middle, snapshot=STEPS)
    apart = solver(tmp_path / "threads", lmdb, 18, middle, snapshot=0)  # writes nothing that is compared
    state = None
    for ranks, until in ((2, STEPS), (3, 2 * STEPS), (1, 3 * STEPS)):
        before: list[object] = [] if state is None else ["--snapshot", state]
        several = ["--divide-batch", *words] if ranks > 1 else []
        done = train(ranks, path, "--iterations", until, *before, *several)
        assert done.returncode == 0, done.stderr
        equal(by_threads(apart, ranks, state, bool(middle)), weights(tmp_path / "run", until))
        state = tmp_path / "run" / f"m_iter_{until}.solverstate"
    assert not list((tmp_path / "threads").glob("*.caffemodel"))
    turned = by_threads(apart, 3, tmp_path / "run" / f"m_iter_{STEPS}.solverstate", bool(middle), turn=1)
    assert any((a != b).any() for a, b in zip(turned, weights(tmp_path / "run", 2 * STEPS), strict=True))
