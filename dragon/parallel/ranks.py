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

__all__ = ["Ranks", "started_ranks"]

T = TypeVar("T")
# how many processes were started together, by MPICH and Intel MPI, Open MPI, and Slurm with its own PMI
_COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS")
_SPIN = 1e-4  # seconds that a rank looks without a pause whether the others are there
_PAUSE, _LONGEST = 0.05, 2e-3  # then with pauses: a part of the seconds that it has waited, and at most so many


class Ranks:
    """The rank of this process among `size`. All ranks have to call the same methods in the same order."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.rank = int(comm.Get_rank())
        self.size = int(comm.Get_size())

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which tests, logs and writes files."""
        return self.rank == 0

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
        _finish(self._comm.Ibarrier())

    def mean(self, values: NDArray[Any]) -> None:
        """Put into `values`, a contiguous vector, its mean over the ranks.

        Each rank adds up one part, in the order of the ranks, and sends it to all: the sums are the same on all ranks
        and in each run, whatever the MPI library. 2 (N - 1) / N of the bytes go out of each rank, as in a ring.
        """
        if self.size == 1:
            return
        count = values.size
        ends = [count * k // self.size for k in range(self.size + 1)]
        counts = [b - a for a, b in pairwise(ends)]
        mine = counts[self.rank]
        got = np.empty((self.size, mine), values.dtype)
        rows = [mine] * self.size, [k * mine for k in range(self.size)]
        _finish(self._comm.Ialltoallv([values, (counts, ends[:-1])], [got, rows]))
        part = got[0].copy()
        for other in got[1:]:
            part += other
        part /= self.size
        _finish(self._comm.Iallgatherv(part, [values, (counts, ends[:-1])]))

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


def _finish(request: Any) -> None:
    """Wait until a request of MPI is done.

    Its own functions that wait try without a pause, on a core that the rank waited for may need.
    """
    began = time.perf_counter()
    while not request.Test():
        waited = time.perf_counter() - began
        if waited > _SPIN:
            time.sleep(min(_PAUSE * waited, _LONGEST))


def started_ranks(environment: Mapping[str, str] = os.environ) -> Ranks | None:
    """The ranks that mpirun or srun has started; None for a process that was started alone.

    Raises UsageError without mpi4py or an MPI library.
    """
    counts: Sequence[str] = [environment[name] for name in _COUNTS if name in environment]
    if not any(count.isdecimal() and int(count) > 1 for count in counts):
        return None
    comm = mpi_module("to train on several ranks").COMM_WORLD
    if comm.Get_size() == 1:
        raise UsageError(
            f"{max(counts, key=int)} processes were started, but MPI sees one: start them by the mpirun of the MPI "
            "library that mpi4py loads"
        )
    return Ranks(comm)
