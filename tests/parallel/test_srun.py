"""`srun dragon train ...`, imitated: mpiexec starts the processes, which get Slurm's variables and a core each."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.parallel.test_train import environment, equal, lmdb, needs_mpi, on_ranks, run, solver, train, weights

__all__ = ["lmdb"]

pytestmark = [
    needs_mpi,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("taskset"), reason="needs the program taskset"),
    pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda pid: [0])(0)) < 2, reason="needs two cores"),
]
# in the place of srun: the rest are the words of the task
TASK = """#!/bin/sh
rank=${PMI_RANK:-$OMPI_COMM_WORLD_RANK}
unset OMP_NUM_THREADS
export SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 SLURM_PROCID=$rank SLURM_LOCALID=$rank
core=$(echo CORES | cut -d' ' -f$((rank + 1)))
exec taskset -c $core "$@"
"""


TRAIN = ("-m", "dragon", "train", "--no-run")
PLACE = """import os
from mpi4py import MPI
from dragon.parallel.ranks import Ranks
cores = frozenset(os.sched_getaffinity(0))
ranks = Ranks(MPI.COMM_WORLD)
os.write(1, " ".join(map(str, [*ranks.here(cores), *ranks.here()])).encode() + b"\\n")
"""


def srun(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run Python with these words on two ranks, each on a core of its own."""
    task = folder / "task"
    first, second = sorted(os.sched_getaffinity(0))[:2]
    task.write_text(TASK.replace("CORES", f"{first} {second}"))
    task.chmod(0o755)
    whole = on_ranks(2, *words)
    at = whole.index("2") + 1  # behind mpiexec -n 2
    return subprocess.run(
        [*whole[:at], str(task), *whole[at:]],
        capture_output=True, text=True, env=environment(), timeout=240, check=False, cwd=folder,
    )  # fmt: skip


def test_tasks_of_srun_are_ranks(tmp_path: Path, lmdb: Path) -> None:
    settings: dict[str, Any] = {"max_iter": 6, "snapshot": 6}
    for name in ("one", "own"):
        solver(tmp_path / name, lmdb, 10, **settings)
    done = srun(tmp_path, *TRAIN, "--solver", tmp_path / "one" / "solver.prototxt", "--engine", "onednn")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "2 ranks: 10 images in a batch of each, 20 of all" in said
    assert said.count("Optimization Done") == 1
    assert train(2, tmp_path / "own" / "solver.prototxt", engine="onednn").returncode == 0
    equal(weights(tmp_path / "one", 6), weights(tmp_path / "own", 6))


def test_srun_starts_ranks_itself(tmp_path: Path, lmdb: Path) -> None:
    path = solver(tmp_path / "run", lmdb, 10)
    for words, says in (
        (["--restart", "2"], "--restart needs ranks that dragon starts itself"),
        (["--ranks", "3"], "--ranks 3 contradicts mpirun, which has started 2 processes"),
    ):
        done = srun(tmp_path, *TRAIN, "--solver", path, *words)
        assert done.returncode != 0
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_ranks_know_who_shares_their_cores(tmp_path: Path) -> None:
    own, common = srun(tmp_path, "-c", PLACE).stdout, run(2, "-c", PLACE)
    assert sorted(own.splitlines()) == ["0 2 1 0 2 2", "1 2 1 1 2 2"]
    assert sorted(common.splitlines()) == ["0 2 2 0 2 2", "1 2 2 1 2 2"]
