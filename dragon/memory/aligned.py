"""Zeroed memory on 64-byte boundaries: small pieces from NumPy, large ones straight from the system.

The C library keeps freed pieces of up to 32 MiB and seldom finds one that fits when sizes change: the training of a
detector whose images have a new size in each iteration took twice the memory that it used. A mapping goes back at once.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIGNMENT", "aligned_bytes"]

ALIGNMENT = 64  # bytes: a cache line and the widest vector
LARGE = 1 << 20  # bytes from which on memory is a mapping of its own
_HUGE = 1 << 22  # bytes from which on large pages are asked for, as NumPy does


def aligned_bytes(size: int) -> NDArray[np.uint8]:
    """`size` zero bytes on a 64-byte boundary, whose `base` is the array that owns them. Raises MemoryError."""
    raw = _mapped(size) if size >= LARGE else None
    if raw is not None:
        return raw[:size]
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def _mapped(size: int) -> NDArray[np.uint8] | None:
    """A mapping, private to this process and its forks; None where the system has no such or gives none now."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return None
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
            pages.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # no memory, on which NumPy has its say; too many mappings; large pages are not offered
        return None
    return np.frombuffer(pages, np.uint8)
