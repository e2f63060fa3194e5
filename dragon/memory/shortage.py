"""What is said where memory was asked for that is not there."""

from __future__ import annotations

import math

__all__ = ["LESS", "shortage"]

LESS = "lower batch_size"  # what helps


def shortage(error: MemoryError) -> str:
    """How many GiB were asked for, as far as the error knows, and for which array. NumPy's errors know it."""
    shape, dtype = getattr(error, "shape", None), getattr(error, "dtype", None)
    if shape is None or dtype is None:
        return "out of memory" + (f": {error}" if str(error) else "")
    size = math.prod(shape) * dtype.itemsize / 2**30
    return f"out of memory: {size:,.3g} GiB were asked for"
