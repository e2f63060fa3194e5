"""Sender: a thread that exchanges buckets one after another while backward goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Sender"]


class Sender:
    """Runs jobs in the order in which they come, on a thread of its own or, without one, when they are waited for.

    The thread does not keep the process from ending: another rank may have failed, and what it waits for never comes.
    """

    def __init__(self, threaded: bool) -> None:
        self.threaded = threaded
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._waiting: list[Callable[[], None]] = []
        self._idle = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def send(self, job: Callable[[], None]) -> None:
        """Run a job behind those before."""
        if not self.threaded:
            self._waiting.append(job)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dragon-sender", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def finish(self) -> None:
        """Wait until all jobs are done. Raises what one of them raised."""
        for job in self._waiting:
            job()
        self._waiting.clear()
        if self._thread is not None:
            self._idle.clear()
            self._jobs.put(self._idle.set)
            self._idle.wait()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if self._error is None or job == self._idle.set:
                    job()
            except BaseException as error:
                self._error = error
