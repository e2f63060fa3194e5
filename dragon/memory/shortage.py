"""Errors for memory that was asked for and is not there."""

from __future__ import annotations

import math
from typing import TypeVar

from dragon.errors import DragonError, LayerName, Position

__all__ = ["LESS", "error_of_layer", "shortage"]

E = TypeVar("E", bound=DragonError)

LESS = "lower batch_size"  # what helps


def shortage(error: MemoryError) -> str:
    """How many GiB were asked for, as far as the error knows, and for which array. NumPy's errors know it."""
    shape, dtype = getattr(error, "shape", None), getattr(error, "dtype", None)
    if shape is None or dtype is None:
        return "out of memory" + (f": {error}" if str(error) else "")
    size = math.prod(shape) * dtype.itemsize / 2**30
    return f"out of memory: {size:,.3g} GiB were asked for"


def error_of_layer(kind: type[E], error: MemoryError, layer: LayerName, position: Position | None = None) -> E:
    """The error of this kind for a layer that ran out of memory."""
    raised = kind(shortage(error), layer=layer, position=position)
    raised.hint = LESS
    return raised
