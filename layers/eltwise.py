"""The layer type Eltwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import Context, Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Eltwise"]

PROD, SUM = pb.EltwiseParameter.PROD, pb.EltwiseParameter.SUM


@register()
class Eltwise(Layer):
    """Product, weighted sum or maximum of bottoms of one shape.

    The gradient of a product is the product divided by the factor or, with `stable_prod_grad`, the product of the other
    factors, which is right also where a factor is 0. Among equal maxima the gradient goes to the second of the first
    two bottoms, else to the earlier one, as in Caffe.
    """

    type = "Eltwise"
    works_in_place = True
    settings = ("eltwise_param",)
    pointwise = True
    bottoms = (2, None)

    def __init__(self, param: pb.LayerParameter, phase: int, context: Context | None = None) -> None:
        super().__init__(param, phase, context)
        self.operation: int = param.eltwise_param.operation
        self.stable: bool = param.eltwise_param.stable_prod_grad

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.eltwise_param
        self.coeff = list(p.coeff) or [1.0] * len(bottom)
        if len(self.coeff) != len(bottom):
            self.bad_param(f"expected one coeff for each of {how_many(len(bottom), 'bottom')}, got {len(self.coeff)}")
        if p.coeff and self.operation != SUM:
            self.bad_param("coeff is for operation SUM only")
        if any(blob is top[0] for blob in bottom[1:]) or (top[0] is bottom[0] and self.operation != SUM):
            self.bad_param("can work in place only as a SUM whose top is bottom 0")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        for i, blob in enumerate(bottom):
            if blob.shape != shape:
                self.bad_shape(f"bottom {i} must have the shape of bottom 0: expected {shape}, got {blob.shape}")
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        xp = xp_of(bottom[0].data)
        y, first, second = top[0].data, bottom[0].data, bottom[1].data
        if self.operation == PROD:
            xp.multiply(first, second, out=y)
            for blob in bottom[2:]:
                y *= blob.data
        elif self.operation == SUM:
            scale = y.dtype.type
            if self.coeff[:2] == [1, 1]:
                xp.add(first, second, out=y)
            else:
                xp.multiply(first, scale(self.coeff[0]), out=y)
                y += second * scale(self.coeff[1])
            for blob, c in zip(bottom[2:], self.coeff[2:], strict=True):
                y += blob.data if c == 1 else blob.data * scale(c)
        else:
            self.winner: Array = xp.where(first > second, xp.int32(0), xp.int32(1))
            xp.maximum(first, second, out=y)
            for i, blob in enumerate(bottom[2:], 2):
                self.winner[blob.data > y] = i
                xp.maximum(y, blob.data, out=y)

    @property
    def reads_top(self) -> bool:
        """Backward divides the product by each bottom, unless `stable_prod_grad` is set."""
        return self.operation == PROD and not self.stable

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        xp = xp_of(dy)
        # bottom 0 last: in place, its diff is dy
        for i in reversed(range(len(bottom))):
            if not propagate_down[i]:
                continue
            dx = bottom[i].diff
            if self.operation == SUM:
                xp.multiply(dy, dy.dtype.type(self.coeff[i]), out=dx)
            elif self.operation != PROD:
                xp.multiply(dy, self.winner == i, out=dx)
            elif self.stable:
                dx[...] = dy
                for j, other in enumerate(bottom):
                    if j != i:
                        dx *= other.data
            else:
                with np.errstate(divide="ignore", invalid="ignore"):  # NaN where a factor is 0
                    xp.divide(top[0].data, bottom[i].data, out=dx)
                dx *= dy
