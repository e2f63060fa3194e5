"""Reads batches ahead in a background thread.

Batches that were read ahead but not taken have no effect: `state` is that of the last batch taken, so a run that
resumes from it reads the same records and draws the same random numbers as one that was not interrupted.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from typing import Protocol

from dragon.data.batches import Batch
from dragon.errors import DataError

__all__ = ["Prefetcher", "Producer"]

_JOIN_SECONDS = 10.0  # a stuck disk must not keep the process from ending


class Producer(Protocol):
    """Makes batches in a fixed order, such as BatchReader; only the prefetcher may use it meanwhile."""

    def state(self) -> tuple[int, int]:
        """(position, draws) from which the next batch is made."""
        ...

    def seek(self, position: int, draws: int) -> None:
        """Continue as after the batch with these two numbers."""
        ...

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch, in the arrays of `batch` if one is given. Raises DataError."""
        ...

    def close(self) -> None:
        """Release the source."""
        ...


class _Queue:
    """The state that the thread and its consumer share, guarded by `changed`."""

    def __init__(self, depth: int) -> None:
        self.changed = threading.Condition()
        self.depth = depth
        self.ready: deque[Batch] = deque()
        self.used: list[Batch] = []
        self.error: BaseException | None = None
        self.stopping = False
        self.pid = os.getpid()
        self.waited = 0.0  # seconds

    def wait(self) -> Batch:
        """Wait for the next batch, which stays in the queue. Raises the error of the thread. `changed` must be held."""
        if not (self.ready or self.error):
            began = time.perf_counter()
            self.changed.wait_for(lambda: self.ready or self.error)
            self.waited += time.perf_counter() - began
        if self.error and not self.ready:
            raise self.error
        return self.ready[0]


class Prefetcher:
    """Keeps up to `depth` batches of `producer` ready; the thread starts with the first `get`.

    The arrays of a batch are valid until the next `get`, which may overwrite them. After a fork, `get` raises DataError
    in the child, which has no copy of the thread.
    """

    def __init__(self, producer: Producer, depth: int) -> None:
        self._producer = producer
        self._depth = max(1, depth)
        self._state = producer.state()
        self._queue: _Queue | None = None
        self._current: Batch | None = None
        self._stop: weakref.finalize[[_Queue, threading.Thread], Prefetcher] | None = None
        self._closed = False

    @property
    def waited(self) -> float:
        """Seconds that batches were waited for."""
        return 0.0 if self._queue is None else self._queue.waited

    @property
    def state(self) -> tuple[int, int]:
        """(position, draws) after the last batch taken, for a snapshot."""
        return self._state

    def next_batch(self) -> Batch:
        """The batch that `get` will return, for its shapes; waits for it. Raises what reading it raised."""
        queue = self._running()
        with queue.changed:
            return queue.wait()

    def get(self) -> Batch:
        """The next batch; waits for it. Raises what reading it raised, in every call."""
        queue = self._running()
        with queue.changed:
            batch = queue.wait()
            queue.ready.popleft()
            if self._current is not None:
                queue.used.append(self._current)
            queue.changed.notify()
        self._current = batch
        self._state = batch.position, batch.draws
        return batch

    def seek(self, position: int, draws: int) -> None:
        """Discard batches that were read ahead, and continue as after the batch with these two numbers."""
        self._halt()
        self._producer.seek(position, draws)
        self._state = position, draws

    def close(self) -> None:
        """Stop the thread and release the source; may be called twice."""
        if not self._closed:
            self._closed = True
            self._halt()
            self._producer.close()

    def _running(self) -> _Queue:
        if self._closed:
            raise DataError("the data source is closed")
        queue = self._queue or self._start()
        if queue.pid != os.getpid():
            raise DataError("a data layer was carried across a fork: build the net in the child process")
        return queue

    def _start(self) -> _Queue:
        self._queue = queue = _Queue(self._depth)
        thread = threading.Thread(target=_work, args=(queue, self._producer), name="prefetch", daemon=True)
        # runs when this object is freed or the interpreter ends, whichever is first
        self._stop = weakref.finalize(self, _stop_thread, queue, thread)
        thread.start()
        return queue

    def _halt(self) -> None:
        if self._stop is not None:
            self._stop()
        self._stop = self._queue = None


def _work(queue: _Queue, producer: Producer) -> None:
    while True:
        with queue.changed:
            queue.changed.wait_for(lambda: queue.stopping or len(queue.ready) < queue.depth)
            if queue.stopping:
                return
            reuse = queue.used.pop() if queue.used else None
        try:
            batch = producer.fill(reuse)
        except BaseException as error:  # any exception is raised in the consumer
            with queue.changed:
                queue.error = error
                queue.changed.notify()
            return
        with queue.changed:
            queue.ready.append(batch)
            queue.changed.notify()


def _stop_thread(queue: _Queue, thread: threading.Thread) -> None:
    if queue.pid != os.getpid():
        return  # a forked child has neither the thread nor a usable lock
    with queue.changed:
        queue.stopping = True
        queue.changed.notify()
    if thread is not threading.current_thread():
        thread.join(_JOIN_SECONDS)
