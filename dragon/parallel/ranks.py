"""The ranks of a training: what they send each other, over MPI."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dragon.errors import UsageError
from dragon.parallel.mpi import mpi_module
from dragon.parallel.wire import Wire

__all__ = ["RANK_NAMES", "Ranks", "started_count", "started_ranks"]

T = TypeVar("T")
# how many processes were started together, by MPICH and Intel MPI, Open MPI, and Slurm with its own PMI
_COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS")
RANK_NAMES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")  # the rank, by the same ones
_SHORT = 1 << 14  # bytes of a vector that each rank adds up by itself: one message less to wait for
_SPIN = 1e-4  # seconds that a rank looks without a pause whether the others are there
_PAUSE, _LONGEST = 0.05, 2e-3  # then with pauses: a part of the seconds that it has waited, and at most so many
_QUICK = 2e-5  # the longest pause while a message goes over, which needs many looks
_PARTS, _SUMS = 1, 2  # tags of messages


class Ranks:
    """The rank of this process among `size`. All ranks have to call the same methods in the same order.

    waited: seconds that this rank has waited for others, or for what they send.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank = int(comm.Get_rank())
        self.size = int(comm.Get_size())
        self.waited = 0.0

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which tests, logs and writes files."""
        return self.rank == 0

    def twin(self) -> Ranks | None:
        """The same ranks for calls of another thread; None where the MPI library takes calls of one thread only."""
        mpi = mpi_module("to train on several ranks")
        return Ranks(self._comm.Dup()) if mpi.Query_thread() == mpi.THREAD_MULTIPLE else None

    def agree(self, value: T) -> T:
        """Rank 0's value, which can be pickled, on all ranks."""
        self.wait()
        agreed: T = self._comm.bcast(value, root=0)
        return agreed

    def agree_all(self, value: T) -> list[T]:
        """The values of all ranks, on all of them."""
        self.wait()
        values: list[T] = self._comm.allgather(value)
        return values

    def wait(self) -> None:
        """Wait for all ranks."""
        self._finish(self._comm.Ibarrier())

    def gather(self, values: NDArray[Any]) -> NDArray[Any]:
        """The vectors of all ranks, one row for each, on all ranks."""
        got = np.empty((self.size, values.size), values.dtype)
        self._finish(self._comm.Iallgather(np.ascontiguousarray(values), got))
        return got

    def total(self, values: NDArray[Any]) -> None:
        """Put into `values`, a contiguous vector, its sum over the ranks: see `mean`."""
        self._reduce(values, None, mean=False)

    def mean(self, values: NDArray[Any], wire: Wire | None = None) -> None:
        """Put into `values`, a contiguous vector, its mean over the ranks.

        Each rank adds up one part, in the order of the ranks, and sends it to all: the sums are the same on all ranks
        and in each run, whatever the MPI library. 2 (N - 1) / N of the bytes go out of each rank, as in a ring; of a
        short vector each rank adds up all. wire: the form in which float32 values are sent.
        """
        self._reduce(values, wire, mean=True)

    def _reduce(self, values: NDArray[Any], wire: Wire | None, mean: bool) -> None:
        if self.size == 1:
            return
        if wire is None and values.nbytes <= _SHORT:
            rows = self.gather(values)
            np.copyto(values, _added(rows, self.size if mean else 1))
            return
        sent = values if wire is None else wire.pack(values)
        ends = [values.size * k // self.size for k in range(self.size + 1)]
        parts = [sent[a:b] for a, b in pairwise(ends)]
        got = np.empty((self.size, parts[self.rank].size), sent.dtype)
        got[self.rank] = parts[self.rank]
        self.wait()  # what follows is quick when all are there
        self._trade(parts, list(got), _PARTS)
        part = _added(got if wire is None else wire.unpack(got), self.size if mean else 1)
        parts[self.rank][...] = part if wire is None else wire.pack(part)
        self._trade([parts[self.rank]] * self.size, parts, _SUMS)
        if wire is not None:
            values[...] = wire.unpack(sent)

    def _trade(self, sent: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]], tag: int) -> None:
        """Send sent[k] to each other rank k, and receive got[k] from it.

        By single messages: MPI's own exchange of parts that differ in length takes several times as long.
        """
        others = [(self.rank + k) % self.size for k in range(1, self.size)]
        requests = [self._comm.Irecv(got[k], k, tag) for k in others]
        requests += [self._comm.Isend(sent[k], k, tag) for k in others]
        for request in requests:
            self._finish(request, _QUICK)

    def _finish(self, request: Any, longest: float = _LONGEST) -> None:
        """Wait until a request of MPI is done, at last in pauses of `longest` seconds.

        MPI's own functions that wait try without a pause, on a core that the rank waited for may need.
        """
        began = time.perf_counter()
        while not request.Test():
            waited = time.perf_counter() - began
            if waited > _SPIN:
                time.sleep(min(_PAUSE * waited, longest))
        self.waited += time.perf_counter() - began

    def here(self) -> tuple[int, int]:
        """The place of this rank among those of its machine, from 0, and how many these are."""
        self.wait()
        here = self._comm.Split_type(mpi_module("to train on several ranks").COMM_TYPE_SHARED)
        place = int(here.Get_rank()), int(here.Get_size())
        here.Free()
        return place

    def abort(self) -> None:
        """End all ranks at once, with exit status 2."""
        self._comm.Abort(2)


def _added(rows: NDArray[Any], divisor: int) -> NDArray[Any]:
    """The sum of the rows, one after another, divided by `divisor`."""
    part: NDArray[Any] = rows[0].copy()
    for other in rows[1:]:
        part += other
    if divisor != 1:
        part /= divisor
    return part


def started_count(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes mpirun or srun has started together with this one; 0: this one was started alone."""
    counts = [environment[name] for name in _COUNTS if name in environment]
    return max((int(count) for count in counts if count.isdecimal()), default=0)


def started_ranks(environment: Mapping[str, str] = os.environ) -> Ranks | None:
    """The ranks that mpirun or srun has started; None for a process that was started alone.

    Raises UsageError without mpi4py or an MPI library.
    """
    count = started_count(environment)
    if count < 2:
        return None
    comm = mpi_module("to train on several ranks").COMM_WORLD
    if comm.Get_size() == 1:
        raise UsageError(
            f"{count} processes were started, but MPI sees one: start them by the mpirun of the MPI "
            "library that mpi4py loads"
        )
    return Ranks(comm)
