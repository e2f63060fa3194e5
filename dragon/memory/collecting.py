"""Python's search for cycles of unused objects, which many new objects set off, put off for a while."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_collecting"]

_lock = threading.Lock()
_within: dict[int, int] = {}  # by thread, how many blocks it is in
_was_enabled = False  # before the first of them


def _in_child() -> None:
    """Forget the blocks of threads that are not in this forked process."""
    global _lock
    _lock = threading.Lock()
    me = threading.get_ident()
    others = _within.keys() - {me}
    for thread in others:
        del _within[thread]
    if others and not _within and _was_enabled:
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@contextmanager
def without_collecting() -> Iterator[None]:
    """Within the block no search for cycles begins by itself.

    For code that makes thousands of objects which stay: each search looks at all of them and finds nothing. Making
    the plan of DenseNet-121 is a tenth faster. Objects without cycles are freed as always.
    """
    global _was_enabled
    me = threading.get_ident()
    with _lock:
        if not _within:
            _was_enabled = gc.isenabled()
            gc.disable()
        _within[me] = _within.get(me, 0) + 1
    try:
        yield
    finally:
        with _lock:
            _within[me] -= 1
            if not _within[me]:
                del _within[me]
            if not _within and _was_enabled:
                gc.enable()
