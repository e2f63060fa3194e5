"""The layer type Reduction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Reduction"]

ASUM, SUMSQ, MEAN = pb.ReductionParameter.ASUM, pb.ReductionParameter.SUMSQ, pb.ReductionParameter.MEAN


@register()
class Reduction(Layer):
    """SUM, ASUM (of absolute values), SUMSQ (of squares) or MEAN over all axes from `axis` on, times `coeff`."""

    type = "Reduction"
    settings = ("reduction_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.operation: int = self.param.reduction_param.operation

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.reduction_param
        shape = bottom[0].shape
        axis = self.axis(p.axis, len(shape))
        self.rows = (math.prod(shape[:axis]), math.prod(shape[axis:]))
        self.coeff: float = p.coeff / max(1, self.rows[1]) if self.operation == MEAN else p.coeff
        top[0].reshape(shape[:axis])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data.reshape(self.rows)
        if self.operation == ASUM:
            x = xp_of(x).absolute(x)
        elif self.operation == SUMSQ:
            x = x * x
        y = top[0].data
        y[...] = x.sum(axis=1).reshape(y.shape) * x.dtype.type(self.coeff)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dx = bottom[0].diff.reshape(self.rows)
        dx[...] = top[0].diff.reshape(-1, 1) * dx.dtype.type(self.coeff)
        if self.operation in (ASUM, SUMSQ):
            x = bottom[0].data.reshape(self.rows)
            dx *= xp_of(x).sign(x) if self.operation == ASUM else 2 * x
