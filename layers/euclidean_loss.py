"""The layer type EuclideanLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss
from dragon.memory.blob import Blob

__all__ = ["EuclideanLoss"]


@register()
class EuclideanLoss(Loss):
    """sum((a - b)^2) / (2 N); both bottoms can have a gradient."""

    type = "EuclideanLoss"
    labels = frozenset()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        a, b = bottom[0].shape, bottom[1].shape
        if math.prod(a[1:]) != math.prod(b[1:]):
            self.bad_shape(f"bottoms must have as many values per item: expected {a}, got {b}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a = bottom[0].data
        self.difference = a - bottom[1].data.reshape(a.shape)
        top[0].data[...] = (self.difference**2).sum() / (2 * max(1, a.shape[0]))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        scale = top[0].diff / max(1, bottom[0].shape[0])
        for blob, wanted, sign in zip(bottom, propagate_down, (1, -1), strict=True):
            if wanted:
                blob.diff[...] = (self.difference * (sign * scale)).reshape(blob.shape)
