"""Times all-reduces on the ranks that mpiexec has started, MPI's and Dragon's; rank 0 prints JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.reductions import by_mpi, seconds
from dragon.parallel.mpi import mpi_module
from dragon.parallel.ranks import started_ranks

SIZES = (4 << 10, 64 << 10, 582_312, 4 << 20)  # bytes; the third is CIFAR-10 quick's gradient
REPEATS = 9


def main() -> None:
    ranks = started_ranks()
    assert ranks is not None, "start it by mpiexec -n N"
    comm = mpi_module("the benchmark").COMM_WORLD

    ways: dict[str, Callable[[NDArray[Any]], None]] = {"mpi": by_mpi, "dragon": ranks.mean}
    found: dict[str, list[float]] = {}
    for name, reduce in ways.items():
        for size in SIZES:
            values = np.ones(size // 4, np.float32)
            taken = [comm.allreduce(seconds(ranks, reduce, values), op=max) for _ in range(REPEATS)]
            found.setdefault(name, []).append(min(taken))  # other processes disturb the rest
    if ranks.leads:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
