"""Workers of MPI: the processes of `mpiexec -n N python -m mpi4py.futures ...`, or ones that MPI starts for us."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import dragon.errors
from dragon.compare.executors.engine import RemoteEngine
from dragon.compare.executors.task import Answer, Task, do_task
from dragon.compare.machine import usable_cores
from dragon.errors import DragonError, UsageError, one_line
from dragon.parallel.mpi import mpi_module, package_missing

__all__ = ["MpiEngine"]

_STARTED = "mpiexec -n N python -m mpi4py.futures -m dragon ..."


class MpiEngine(RemoteEngine):
    """mpi4py.futures.MPIPoolExecutor. jobs: how many workers; None: all that were started, else one for each core.

    A worker that dies ends all processes of an MPI program, the parent's too; its jobs do not, see `do_task`.
    """

    name = "mpi"

    def __init__(self, jobs: int | None) -> None:
        world = mpi_module("--executor mpi").COMM_WORLD
        try:
            from mpi4py import futures
        except ImportError:
            raise package_missing("--executor mpi") from None
        if world.Get_size() > 1 and "mpi4py.futures" not in sys.orig_argv:
            raise UsageError(f"each MPI process would run the experiment: {_STARTED}")
        self._started = world.Get_size() - 1  # workers that mpiexec has started; 0: none
        self._jobs = jobs
        self._futures = futures
        self._pool: Any = None

    def start(self) -> None:
        """Start the workers, or find those that are there."""
        root = str(Path(dragon.errors.__file__).resolve().parents[1])  # the same package that runs here
        workers = self._started or self._jobs or usable_cores()
        if not self._started:
            self._check_that_it_starts_workers()
            _find_mpiexec()
        self._pool = self._futures.MPIPoolExecutor(workers, main=False, path=[root])
        try:
            self._pool.bootup(wait=True)
        except Exception as error:
            raise DragonError(f"--executor mpi: the workers cannot be started: {one_line(str(error))}") from None

    def _check_that_it_starts_workers(self) -> None:
        """Raise UsageError for a library in which a process that was started alone cannot start others.

        MPI_Comm_spawn of Open MPI 5.0 then returns an error, for which mpi4py's pool waits for ever, and Intel MPI's
        ends the process by a segmentation fault.
        """
        version = mpi_module("--executor mpi").Get_library_version()
        name = next((name for name in ("Open MPI", "Intel(R) MPI") if name in version), None)
        if name is not None:
            raise UsageError(f"--executor mpi starts no workers with {name}; start them: {_STARTED}")

    def slots(self) -> int:
        """The workers, at most --jobs."""
        workers = max(1, int(self._pool.num_workers))
        return min(self._jobs or workers, workers)

    def submit(self, task: Task) -> Future[Answer]:
        """Give a task to an idle worker."""
        future: Future[Answer] = self._pool.submit(do_task, task)
        return future

    def close(self) -> None:
        """End the workers after the jobs that they do now."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _find_mpiexec() -> None:
    """Put `mpiexec` on the PATH: MPICH starts workers by it, and waits for ever when it is not found."""
    if shutil.which("mpiexec"):
        return
    beside = Path(sys.executable).parent  # of an environment that is not activated
    if not (beside / "mpiexec").exists():
        raise UsageError("--executor mpi needs the program mpiexec on the PATH, to start workers")
    os.environ["PATH"] = os.pathsep.join([str(beside), os.environ.get("PATH", os.defpath)])
