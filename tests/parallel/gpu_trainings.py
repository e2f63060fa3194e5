"""As trainings.py, on emulated GPUs: rank r has GPU r, or that of the rank before where the job's "shared" is true.

Of the job's other keys, "nccl" false takes NCCL away, "delayed" lets the GPU run only when the host waits for it.
NAME.npz also gets `counted`, JSON of what the stand-in for CuPy has counted.

With DRAGON_TEST_GPU=1 it runs on a GPU.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from mpi4py import MPI

from dragon.engines import Options
from dragon.parallel.ranks import Ranks
from tests.engines.cuda.conftest import ON_A_GPU, emulation
from tests.engines.cuda.emulation import nccl, standin
from tests.parallel.trainings import train

__all__: list[str] = []
MODULE = "cupy.cuda.nccl"


def prepare(job: dict[str, Any], rank: int) -> None:
    """Give this rank its GPU, and NCCL or not."""
    if ON_A_GPU:
        return
    Options.default_device = 0 if job.get("shared") else rank
    standin.counts.clear()
    sys.modules.pop(MODULE, None)
    if job.get("nccl", True):
        sys.modules[MODULE] = nccl.make()


def main() -> None:
    ranks = Ranks(MPI.COMM_WORLD)
    running = emulation(pytest.MonkeyPatch(), max(2, ranks.size))
    next(running)
    jobs = Path(sys.argv[1])
    for line in jobs.read_text().splitlines():
        job = json.loads(line)
        prepare(job, ranks.rank)
        with standin.delayed() if job.get("delayed") else nullcontext():
            train(jobs.parent, ranks, job, lambda: {"counted": json.dumps(standin.counts)})


if __name__ == "__main__":
    main()
