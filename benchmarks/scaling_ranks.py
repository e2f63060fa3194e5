"""Times all-reduces on the ranks that mpiexec has started, MPI's and Dragon's; rank 0 prints JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.parallel.mpi import mpi_module
from dragon.parallel.ranks import started_ranks

SIZES = (4 << 10, 64 << 10, 582_312, 4 << 20)  # bytes; the third is CIFAR-10 quick's gradient
REPEATS = 9


def main() -> None:
    ranks = started_ranks()
    assert ranks is not None, "start it by mpiexec -n N"
    comm = mpi_module("the benchmark").COMM_WORLD

    def of_mpi(values: NDArray[Any]) -> None:
        comm.Allreduce(values.copy(), values)

    ways: dict[str, Callable[[NDArray[Any]], None]] = {"mpi": of_mpi, "dragon": ranks.mean}
    found: dict[str, list[float]] = {}
    for name, reduce in ways.items():
        for size in SIZES:
            values, taken = np.ones(size // 4, np.float32), []
            for _ in range(REPEATS):
                comm.Barrier()
                began = time.perf_counter()
                reduce(values)
                taken.append(comm.allreduce(time.perf_counter() - began, op=max))
            found.setdefault(name, []).append(min(taken))  # other processes disturb the rest
    if ranks.leads:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
