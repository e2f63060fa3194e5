"""Workers of Dask: those of a scheduler's address, or some that are started on this machine."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from multiprocessing import resource_tracker
from typing import Any

from dragon.compare.executors.engine import RemoteEngine
from dragon.compare.executors.task import Answer, Task, do_task
from dragon.compare.machine import usable_cores
from dragon.errors import DataError, UsageError, one_line
from dragon.extras import install_command

__all__ = ["DaskEngine", "dask_task"]

_CONNECT_S = 10
_NO_WORKERS_S = 60


def dask_task(task: Task, stop: str) -> Answer:
    """Do a task in a worker. stop: name of the event that stops it."""
    from distributed import Event

    event = Event(stop)
    return do_task(task, lambda: bool(event.is_set()))


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back in the block, where the system can. Processes started in it do not get it: this stops them."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # which lets the signal through again where it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class DaskEngine(RemoteEngine):
    """A distributed.Client as an executor. Each thread of a worker does one job at a time.

    jobs: at most so many side by side; without a scheduler, so many workers, by default one for each core. Dask itself
    gives the task of a worker that died to another, as often as its setting `allowed-failures` says (3).
    """

    name = "dask"

    def __init__(self, jobs: int | None, scheduler: str | None) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError(f"--executor dask needs a package: {install_command('dask')}") from None
        self._distributed = distributed
        self._jobs = jobs
        self._address = scheduler
        self._cluster: Any = None
        self._client: Any = None
        self._executor: Any = None
        self._stop_name = f"dragon-stop-{uuid.uuid4().hex}"
        self._alone_since: float | None = None

    def start(self) -> None:
        """Connect to the scheduler and wait for its first worker."""
        if self._address is None:
            with _interrupts_held():
                self._cluster = self._distributed.LocalCluster(
                    n_workers=self._jobs or usable_cores(), threads_per_worker=1, dashboard_address="127.0.0.1:0",
                    memory_limit=None, silence_logs=logging.CRITICAL + 1,
                )  # fmt: skip
        where = self._address or self._cluster
        try:
            self._client = self._distributed.Client(where, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise DataError(f"--scheduler {self._address}: cannot be reached: {one_line(str(error))}") from None
        try:
            self._client.wait_for_workers(1, timeout=_NO_WORKERS_S)
        except TimeoutError:
            raise self._no_workers() from None
        self._executor = self._client.get_executor(pure=False)

    def _no_workers(self) -> DataError:
        return DataError(f"the Dask scheduler {self._address or 'here'} has no workers since {_NO_WORKERS_S} s")

    def slots(self) -> int:
        """Threads of all workers, at most --jobs."""
        try:
            threads = int(sum(self._client.nthreads().values()))
        except (OSError, TimeoutError) as error:
            raise DataError(f"the Dask scheduler {self._address or 'here'} was lost: {one_line(str(error))}") from None
        if threads:
            self._alone_since = None
        else:
            now = time.monotonic()
            self._alone_since = self._alone_since or now
            if now - self._alone_since > _NO_WORKERS_S:
                raise self._no_workers()
        return max(1, min(self._jobs or threads, threads))

    def submit(self, task: Task) -> Future[Answer]:
        """Give a task to the scheduler."""
        future: Future[Answer] = self._executor.submit(dask_task, task, self._stop_name)
        return future

    def worker_death(self, error: BaseException) -> str | None:
        """Dask's KilledWorker: more workers than it allows have died with the task."""
        if isinstance(error, self._distributed.KilledWorker):
            return f"the Dask workers that had it ended, {error.allowed_failures + 1} one after the other"
        return None

    def stop_running(self) -> None:
        """Set the event that the running jobs look at every second."""
        with contextlib.suppress(Exception):  # the scheduler may be what was lost
            self._distributed.Event(self._stop_name, client=self._client).set()

    def close(self) -> None:
        """Disconnect, and end the workers that were started here."""
        for one in (self._client, self._cluster):
            if one is not None:
                with contextlib.suppress(Exception):
                    one.close()
