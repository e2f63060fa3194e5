"""Zeroed memory on 64-byte boundaries: small pieces from NumPy, large ones straight from the system.

The C library keeps freed pieces of up to 32 MiB and seldom finds one that fits when sizes change: the training of a
detector whose images have a new size in each iteration took twice the memory that it used. A mapping goes back at once,
and none of its pages is taken before it is used: a plan moves most of its memory into an arena.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGNMENT", "address_of", "aligned_bytes"]

ALIGNMENT = 64  # bytes: a cache line and the widest vector
LARGE = 1 << 16  # bytes from which on memory is a mapping of its own
_HUGE = 1 << 22  # bytes from which on large pages are asked for, as NumPy does


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """`size` zero bytes on a 64-byte boundary, whose `base` is the array that owns them. Raises MemoryError."""
    raw = _mapped(size) if size >= LARGE else None
    if raw is not None:
        return raw[:size]
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -address_of(raw) % ALIGNMENT
    return raw[start : start + size]


def address_of(array: NDArray[Any]) -> int:
    """The address of an array's first element, in less than half the time that `array.ctypes` takes."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    except (TypeError, ValueError):  # read-only, with gaps, or empty
        return int(array.ctypes.data)


def _mapped(size: int) -> NDArray[np.uint8] | None:
    """A mapping, private to this process and its forks; None on Windows, and where the system gives none now."""
    if sys.platform == "win32":
        return None
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:  # no memory, on which NumPy has its say, or too many mappings
        return None
    if sys.platform == "linux" and size >= _HUGE:
        with suppress(OSError):  # this kernel has none
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)
