"""A program for mpiexec: trains as each line of a JSON file says, and writes what the ranks found, so one start serves.

A line is {"name", "solver", "steps", "engine", "settings"}; settings are keyword arguments of Solver. With "exchange" a
single rank does what several do. NAME.npz gets the weights and running statistics of rank 0, the loss of each step, and
whether all ranks ended with the same bits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from dragon.parallel.buckets import LEAST
from dragon.parallel.ranks import Ranks
from dragon.solver.types import get_solver

__all__: list[str] = []


def train(
    folder: Path, ranks: Ranks, job: dict[str, Any], more: Callable[[], dict[str, Any]] = dict
) -> None:  # fmt: skip
    """Train as a job says. more: further values to write, called after the steps."""
    together = ranks if ranks.size > 1 or job.get("exchange") else None
    settings = job["settings"] if together is not None else {}
    least = settings.pop("bucket", LEAST)
    solver = get_solver(
        job["solver"], engine=job["engine"], seed=3, verbose=False, ranks=together, **settings
    )  # fmt: skip
    exchange = solver.exchange
    if exchange is not None:
        exchange.split(least)
    losses = [solver.step(1) for _ in range(job["steps"])]
    found = more()
    phases = [] if exchange is None else exchange.phases()
    if exchange is not None and settings.get("timeline"):
        exchange.write_timeline(folder / f"{job['name']}.json")
    values: dict[str, Any] = {f"blob{k}": blob.peek().copy() for k, (blob, _) in enumerate(solver.net.owned)}
    everybody = ranks.agree_all([value.tobytes() for value in values.values()])
    same = all(other == everybody[0] for other in everybody)
    if ranks.leads:
        np.savez(
            folder / f"{job['name']}.npz", losses=losses, same=same,
            buckets=0 if exchange is None else len(exchange.buckets),
            phases=[(p.read, p.compute, p.wait) for p in phases], said="" if exchange is None else exchange.describe(),
            **found, **values,
        )  # fmt: skip
    solver.close()


if __name__ == "__main__":
    jobs = Path(sys.argv[1])
    for line in jobs.read_text().splitlines():
        train(jobs.parent, Ranks(MPI.COMM_WORLD), json.loads(line))
