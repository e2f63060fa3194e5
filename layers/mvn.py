"""The layer type MVN."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Context, Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["MVN"]


@register()
class MVN(Layer):
    """y = (x - mean) / (std + eps) for each channel of each item, or with `across_channels` for each item.

    Without `normalize_variance` only the mean is subtracted.
    """

    type = "MVN"
    works_in_place = True
    settings = ("mvn_param",)
    pointwise = True

    def __init__(self, param: pb.LayerParameter, phase: int, context: Context | None = None) -> None:
        super().__init__(param, phase, context)
        self.scaled: bool = param.mvn_param.normalize_variance

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.eps: float = self.param.mvn_param.eps
        if self.eps < 0:
            self.bad_param(f"eps must not be negative, got {self.eps:g}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        lead = 1 if self.param.mvn_param.across_channels else 2
        if len(shape) < lead:
            self.bad_shape(f"needs at least {how_many(lead, 'axis')}, got a bottom of shape {shape}")
        self.rows = (math.prod(shape[:lead]), math.prod(shape[lead:]))
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data.reshape(self.rows), top[0].data.reshape(self.rows)
        xp = xp_of(x)
        xp.subtract(x, x.mean(axis=1, keepdims=True), out=y)
        if self.scaled:
            self.std = xp.sqrt((y * y).mean(axis=1, keepdims=True))
            y /= self.std + y.dtype.type(self.eps)

    @property
    def reads_top(self) -> bool:
        """Backward computes from the result where the variance is normalised."""
        return self.scaled

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff.reshape(self.rows), bottom[0].diff.reshape(self.rows)
        xp = xp_of(dy)
        if not self.scaled:
            xp.subtract(dy, dy.mean(axis=1, keepdims=True), out=dx)
            return
        y = top[0].data.reshape(self.rows)
        divisor = self.std + y.dtype.type(self.eps)
        # where all values are equal, std has no derivative and y is 0
        ratio = divisor / xp.where(self.std > 0, self.std, 1)
        along = y * ((dy * y).mean(axis=1, keepdims=True) * ratio)
        xp.subtract(dy, dy.mean(axis=1, keepdims=True), out=dx)
        dx -= along
        dx /= divisor
