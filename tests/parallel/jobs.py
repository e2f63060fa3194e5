"""Trainings on 1, 2 and 3 ranks of MPI, several in one start of the ranks, and what they found."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.synthetic import write_synthetic
from tests.parallel.test_train import BN, run, solver

__all__ = ["SPLIT", "SYNC", "Found", "distance", "found_by"]

SPLIT = (
    'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }'
    'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }'
)
SYNC = BN.replace('"BN"', '"SyncBN"')
Found = dict[str, NDArray[Any]]


def found_by(
    program: str, jobs: Sequence[dict[str, Any]], folder: Path, steps: int, on_three: Collection[str], timed: str,
    timeout: int,
) -> dict[tuple[str, int], Found]:  # fmt: skip
    """What each job found, by its name and the number of ranks. on_three: those for 3 ranks too.

    ("timeline", 2) has the events of the job `timed` on 2 ranks.
    """
    lmdb = write_synthetic(folder / "drawn", train=170, test=10).train
    results: dict[tuple[str, int], Found] = {}
    for ranks in (1, 2, 3):
        lines = []
        (folder / str(ranks)).mkdir()
        for job in jobs:
            if ranks == 3 and job["name"] not in on_three:
                continue
            place = folder / str(ranks) / job["name"]
            path = solver(
                place, lmdb, {1: 12, 2: 6, 3: 4}[ranks], job["middle"], display=0, snapshot=0, **job["fields"]
            )
            lines.append(json.dumps({**job, "solver": str(path), "steps": steps}))
        (folder / str(ranks) / "jobs").write_text("\n".join(lines))
        run(ranks, "-m", program, folder / str(ranks) / "jobs", timeout=timeout)
        for line in lines:
            name = json.loads(line)["name"]
            with np.load(folder / str(ranks) / f"{name}.npz") as file:
                results[name, ranks] = dict(file)
    timeline = json.loads((folder / "2" / f"{timed}.json").read_text())
    results["timeline", 2] = {"events": np.array(timeline["traceEvents"], object)}
    return results


def _blobs(one: Found) -> list[NDArray[Any]]:
    """The parameters and running statistics, in the order of the net."""
    return [one[f"blob{k}"] for k in range(sum(name.startswith("blob") for name in one))]


def distance(one: Found, other: Found) -> float:
    """The largest difference of a value, by the largest of its blob, or by 0.01: a bias before a BN is rounding."""
    pairs = zip(_blobs(one), _blobs(other), strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 0.01)) for a, b in pairs)
