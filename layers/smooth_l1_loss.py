"""The layer type SmoothL1Loss."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["SmoothL1Loss"]


@register()
class SmoothL1Loss(Loss):
    """Quadratic for small differences, linear for large ones (Girshick 2015), summed and divided by the batch size.

    With d = w_in (a - b): 0.5 (sigma d)^2 where |d| < 1 / sigma^2, else |d| - 0.5 / sigma^2; times w_out. Bottoms: a, b
    and optionally w_in and w_out, all with as many values.
    """

    type = "SmoothL1Loss"
    settings = ("smooth_l1_loss_param",)
    bottoms = (2, 4)
    labels = frozenset({2, 3})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        sigma = self.param.smooth_l1_loss_param.sigma
        if not sigma > 0:
            self.bad_param(f"sigma must be positive, got {sigma:g}")
        self.sharpness = sigma * sigma

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        for i, blob in enumerate(bottom[1:], 1):
            if blob.count != bottom[0].count:
                self.bad_shape(
                    f"bottom {i} must have the shape of bottom 0: expected {bottom[0].shape}, got {blob.shape}"
                )

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a = bottom[0].data
        xp = xp_of(a)
        self.difference = a - bottom[1].data.reshape(a.shape)
        if len(bottom) > 2:
            self.difference *= bottom[2].data.reshape(a.shape)
        size = xp.absolute(self.difference)
        near = size < 1 / self.sharpness
        losses = xp.where(near, (0.5 * self.sharpness) * size * size, size - 0.5 / self.sharpness)
        if len(bottom) > 3:
            losses *= bottom[3].data.reshape(a.shape)
        self.take_each(losses, top)
        top[0].data[...] = losses.sum() / self.divisor(a.shape)

    def take_each(self, losses: Array, top: Sequence[Blob]) -> None:
        """Called with the losses of all values, for a layer that gives them out."""

    def divisor(self, shape: tuple[int, ...]) -> float:
        """What the sum of the losses of bottoms of this shape is divided by."""
        return max(1, shape[0])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        xp = xp_of(self.difference)
        slope = xp.clip(self.difference * self.sharpness, -1, 1) * (top[0].diff / self.divisor(bottom[0].shape))
        for weight in bottom[2:]:
            slope *= weight.data.reshape(slope.shape)
        for blob, wanted, sign in zip(bottom[:2], propagate_down, (1, -1), strict=False):
            if wanted:
                blob.diff[...] = (sign * slope).reshape(blob.shape)
