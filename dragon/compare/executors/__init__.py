"""What runs the jobs of an experiment: worker processes here, or the workers of MPI or Dask."""

from __future__ import annotations

from dragon.compare.executors.engine import RemoteEngine
from dragon.compare.executors.remote_pool import RemotePool
from dragon.compare.pool import Pool
from dragon.errors import UsageError, nearest

__all__ = ["EXECUTORS", "make_pool"]

EXECUTORS = ("local", "mpi", "dask")


def make_pool(executor: str = "local", jobs: int | None = None, scheduler: str | None = None) -> Pool | RemotePool:
    """The pool of an executor. jobs: how many side by side. scheduler: address of Dask's; None: workers of its own.

    Raises UsageError for wrong options or a missing package.
    """
    if executor not in EXECUTORS:
        raise UsageError(f'no executor "{executor}"{nearest(executor, EXECUTORS)}; known: {", ".join(EXECUTORS)}')
    if scheduler is not None and executor != "dask":
        raise UsageError(f"--scheduler is the address of Dask's scheduler: it needs --executor dask, got {executor}")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}")
    if executor == "local":
        return Pool(jobs)
    engine: RemoteEngine
    if executor == "mpi":
        from dragon.compare.executors.mpi import MpiEngine

        engine = MpiEngine(jobs)
    else:
        from dragon.compare.executors.dask import DaskEngine

        engine = DaskEngine(jobs, scheduler)
    return RemotePool(engine, jobs)
