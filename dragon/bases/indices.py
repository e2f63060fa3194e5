"""Indices that come as floats in a blob: checked and converted."""

from __future__ import annotations

from dragon.bases.layer import Layer
from dragon.errors import DataError
from dragon.memory.storage import Array

__all__ = ["checked_indices"]


def checked_indices(layer: Layer, values: Array, size: int, what: str) -> Array:
    """`values`, flattened, as int64. Raises DataError, naming `what`, for the first one outside 0 .. size - 1."""
    flat = values.ravel()
    bad = ~((flat >= 0) & (flat < size))
    if bool(bad.any()):
        at = int(bad.argmax())
        raise DataError(f"{what} {float(flat[at]):g} at position {at}: expected 0 to {size - 1}", layer=layer.where)
    indices: Array = flat.astype("int64")
    return indices
