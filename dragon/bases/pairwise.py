"""Base of Add and Mul: bottoms of one shape, or with extents of 1, which are broadcast."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["Pairwise", "sum_to"]


def sum_to(value: Array, shape: tuple[int, ...]) -> Array:
    """`value` summed over the axes along which an array of `shape` was broadcast; the result has that shape."""
    lead = value.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        i for i, (a, b) in enumerate(zip(value.shape[lead:], shape, strict=True), lead) if a != b
    )
    return value.sum(axis=axes).reshape(shape) if axes else value


class Pairwise(Layer):
    """Base of Add and Mul. Bottoms are broadcast to the shape of bottom 0 as in NumPy; raises ShapeError otherwise."""

    bottoms = (2, None)
    pointwise = True
    capturable = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if any(blob is top[0] for blob in bottom):
            self.bad_param("cannot work in place")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        for i, blob in enumerate(bottom[1:], 1):
            tail = shape[len(shape) - blob.ndim :]
            if blob.ndim > len(shape) or any(b not in (1, a) for a, b in zip(tail, blob.shape, strict=True)):
                self.bad_shape(f"bottom {i} of shape {blob.shape} does not fit bottom 0 of shape {shape}")
        top[0].reshape(shape)
