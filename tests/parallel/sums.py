"""A program for mpiexec: adds up vectors over the ranks, as tests/parallel/test_sums.py asks for.

Arguments: a file for what rank 0 has gathered, "flat" or "machine".
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from dragon.parallel.buckets import Bucket
from dragon.parallel.ranks import Ranks
from dragon.parallel.wire import WIRES

SIZES = (1, 3, 4_000, 5_000, 100_003)  # the first three are short ones, which each rank adds up


def vector(size: int, rank: int, dtype: type = np.float32) -> NDArray[np.float32]:
    """What a rank adds: numbers of very different sizes, whose sum depends on the order."""
    random = np.random.default_rng([size, rank])
    return (random.standard_normal(size) * 10.0 ** random.integers(-3, 3, size)).astype(dtype)


class Filled(Bucket):
    """A bucket without blobs but its vector."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        self.layer, self._vector = 0, values
        half = values.size // 2
        self.blobs = [type("Part", (), {"count": n})() for n in (half, values.size - half)]


def main() -> None:
    ranks = Ranks(MPI.COMM_WORLD)
    ranks.add_up_by(sys.argv[2])
    found: dict[str, Any] = {}
    for size in SIZES:
        for name, wire in WIRES.items():
            values = vector(size, ranks.rank)
            Filled(values).reduce(ranks, wire)
            found[f"{name} {size}"] = values
        total = vector(size, ranks.rank, np.float64)
        ranks.total(total)
        found[f"total {size}"] = total
    everybody = ranks.agree_all({name: values.tobytes() for name, values in found.items()})
    same = all(other == everybody[0] for other in everybody)
    if ranks.leads:
        groups = np.array([str([list(group) for group in ranks.groups])])
        np.savez(sys.argv[1], same=same, groups=groups, **found)


if __name__ == "__main__":
    main()
