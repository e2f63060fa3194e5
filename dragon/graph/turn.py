"""One thread at a time in a net: a second one is an error, since both would write the same blobs."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from dragon.errors import UsageError

__all__ = ["Turn", "alone"]

F = TypeVar("F", bound=Callable[..., object])


class Turn:
    """Held by the thread that runs a net, for the duration of a run. UsageError, at once, for any other thread."""

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
        self._pid, self._lock = os.getpid(), threading.RLock()  # held by a thread that did not come along in a fork
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class _HasTurn(Protocol):
    @property
    def turn(self) -> Turn: ...


def alone(method: F) -> F:
    """Decorator for methods that run a net: they hold its `turn`."""

    @functools.wraps(method)
    def run(self: _HasTurn, /, *args: object, **more: object) -> object:
        with self.turn:
            return method(self, *args, **more)

    return cast(F, run)
