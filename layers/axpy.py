"""The layer type Axpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["Axpy"]


@register()
class Axpy(Layer):
    """top = a * x + y with one factor a for each channel of each item (squeeze and excitation, Hu et al. 2018).

    Bottoms: a (N, C) or (N, C, 1, 1), x and y (N, C, ...).
    """

    type = "Axpy"
    bottoms = (3, 3)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, x, y = (blob.shape for blob in bottom)
        if len(x) < 2 or y != x:
            self.bad_shape(f"bottoms 1 and 2 must have one shape (N, C, ...), got {x} and {y}")
        if a[:2] != x[:2] or math.prod(a) != math.prod(x[:2]):
            self.bad_shape(f"bottom 0 must have one value per channel: expected shape {x[:2]}, got {a}")
        self.rows = (x[0] * x[1], math.prod(x[2:]))
        if top[0] is not bottom[2]:
            top[0].reshape(x)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, x, y = bottom[0].data.reshape(-1, 1), bottom[1].data.reshape(self.rows), bottom[2].data.reshape(self.rows)
        xp_of(x).add(a * x, y, out=top[0].data.reshape(self.rows))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff.reshape(self.rows)
        if propagate_down[0]:
            da = bottom[0].diff
            da[...] = (dy * bottom[1].data.reshape(self.rows)).sum(axis=1).reshape(da.shape)
        if propagate_down[1]:
            xp_of(dy).multiply(dy, bottom[0].data.reshape(-1, 1), out=bottom[1].diff.reshape(self.rows))
        if propagate_down[2] and top[0] is not bottom[2]:
            bottom[2].diff[...] = top[0].diff
