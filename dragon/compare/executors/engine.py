"""What a pool needs of MPI or Dask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future

from dragon.compare.executors.task import Answer, Task

__all__ = ["RemoteEngine"]


class RemoteEngine(ABC):
    """Workers that are reached through concurrent.futures. The constructor raises UsageError without the package."""

    name: str

    @abstractmethod
    def start(self) -> None:
        """Start or find the workers. Raises DragonError when there are none."""

    @abstractmethod
    def slots(self) -> int:
        """How many jobs the workers can do side by side now, at least 1. Raises DragonError when all are lost."""

    @abstractmethod
    def submit(self, task: Task) -> Future[Answer]:
        """Give a task to a worker."""

    def worker_death(self, error: BaseException) -> str | None:
        """How the workers of a task ended, if that is what the exception of its future says."""
        return None

    def stop_running(self) -> None:
        """Ask the running jobs to stop with a snapshot, where that is possible."""

    @abstractmethod
    def close(self) -> None:
        """Leave the workers, and end those that were started."""
