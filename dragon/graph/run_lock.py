"""RunLock: one thread at a time runs a net. A second one is an error, since both would write the same blobs."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from dragon.errors import UsageError

__all__ = ["RunLock", "exclusive"]

F = TypeVar("F", bound=Callable[..., object])


class RunLock:
    """A lock that a thread holds while it runs a net. Any other thread gets a UsageError at once, without waiting."""

    def __init__(self, net: str) -> None:
        self._net = net
        self._pid = os.getpid()
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        if self._pid == os.getpid():
            raise UsageError(
                f'net "{self._net}" is running in another thread: give each thread a net of its own '
                "(net.share_with shares the weights), or hold a lock from setting inputs to reading outputs"
            )
        self._pid, self._lock = os.getpid(), threading.RLock()  # the thread that held it is not in this forked process
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class _HasRunLock(Protocol):
    @property
    def run_lock(self) -> RunLock: ...


def exclusive(method: F) -> F:
    """Let a method that runs a net hold its `run_lock` meanwhile; a decorator."""

    @functools.wraps(method)
    def run(self: _HasRunLock, /, *args: object, **more: object) -> object:
        with self.run_lock:
            return method(self, *args, **more)

    return cast(F, run)
