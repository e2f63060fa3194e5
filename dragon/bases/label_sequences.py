"""What layers with scores of sequences share: their shape, marks of beginnings, and which class is the blank."""

from __future__ import annotations

import math

from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Scores", "blank_class", "check_label_columns", "check_marks", "label_rows"]


class Scores:
    """Scores (T, N, C) of each class at each step of each sequence; axes of one value may follow.

    batch_first: (N, T, C) instead. Raises ShapeError for another shape.
    """

    def __init__(self, layer: Layer, shape: tuple[int, ...], batch_first: bool = False) -> None:
        wanted = "(N, T, C)" if batch_first else "(T, N, C)"
        if (
            len(shape) < 3
            or any(size != 1 for size in shape[3:])
            or 0 in (shape[0 if not batch_first else 1], shape[2])
        ):
            layer.bad_shape(f"needs scores of shape {wanted}, got {shape}")
        self.given = shape[:3]
        self.batch_first = batch_first

    @property
    def shape(self) -> tuple[int, int, int]:
        """T, N, C."""
        first, second, classes = self.given
        return (second, first, classes) if self.batch_first else (first, second, classes)

    def of(self, blob: Blob) -> Array:
        """The values, (T, N, C)."""
        return self._view(blob.data)

    def diff_of(self, blob: Blob) -> Array:
        """The diff, (T, N, C); a view, to be written to."""
        return self._view(blob.diff)

    def _view(self, array: Array) -> Array:
        view: Array = array.reshape(self.given)
        return view.swapaxes(0, 1) if self.batch_first else view


def blank_class(layer: Layer, blank: int, classes: int) -> int:
    """The class that stands for no label; a negative one counts from the end. Raises ShapeError if there is none."""
    if not -classes <= blank < classes:
        layer.bad_shape(f"the blank is class {blank}, the bottom has {how_many(classes, 'class')}")
    return blank % classes


def check_marks(layer: Layer, blob: Blob, steps: int, n: int) -> None:
    """Raise ShapeError unless bottom 1, which says where sequences begin, is (T, N); axes of one value may follow."""
    if blob.shape[:2] != (steps, n) or blob.count != steps * n:
        layer.bad_shape(f"bottom 1 says where sequences begin: expected shape {(steps, n)}, got {blob.shape}")


def check_label_columns(layer: Layer, blob: Blob, index: int, n: int) -> None:
    """Raise ShapeError unless bottom `index`, the labels of n sequences, is (L, N); axes of one value may follow."""
    if blob.ndim < 2 or blob.shape[1] != n or math.prod(blob.shape[2:]) != 1:
        layer.bad_shape(
            f"bottom {index} must hold the labels of {how_many(n, 'sequence')}, (L, N), got shape {blob.shape}"
        )


def label_rows(labels: Array, blank: int) -> tuple[Array, Array]:
    """Labels (N, ...) as integers (N, L), and which of them count: those that are neither negative nor the blank."""
    xp = xp_of(labels)
    rows = xp.rint(labels.reshape(labels.shape[0], math.prod(labels.shape[1:]))).astype("int64")
    return rows, (rows >= 0) & (rows != blank)
