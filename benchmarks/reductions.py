"""A mean over the ranks that mpiexec has started, by MPI's own all-reduce, and the time of one in any way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from dragon.parallel.mpi import mpi_module
from dragon.parallel.ranks import Ranks

__all__ = ["by_mpi", "seconds"]


def by_mpi(values: NDArray[Any]) -> None:
    """Replace values by their sum over the ranks, which MPI computes."""
    mpi = mpi_module("the benchmark")
    mpi.COMM_WORLD.Allreduce(mpi.IN_PLACE, values)


def seconds(ranks: Ranks, reduce: Callable[[NDArray[Any]], None], values: NDArray[Any]) -> float:
    """Seconds that `reduce` takes on this rank, when all ranks begin together."""
    ranks.wait()
    began = time.perf_counter()
    reduce(values)
    return time.perf_counter() - began
