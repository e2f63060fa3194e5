"""Norms of whole blobs, which clipping and rules with a rate for each blob need."""

from __future__ import annotations

from dragon.memory.scratch import parts
from dragon.memory.storage import Array

__all__ = ["squares"]


def squares(array: Array) -> float:
    """The sum of squares. Not by BLAS, whose waiting threads would take the cores from the next step."""
    flat = array.reshape(-1)
    return sum(float((flat[part] * flat[part]).sum()) for part in parts(flat))
