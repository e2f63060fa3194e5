"""Python's search for cycles of unused objects, which many new objects set off, put off for a while."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_collecting"]


@contextmanager
def without_collecting() -> Iterator[None]:
    """Within the block no search for cycles begins by itself.

    For code that makes thousands of objects which stay: each search looks at all of them and finds nothing. Making
    the plan of DenseNet-121 is a tenth faster. Objects without cycles are freed as always.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
