"""The layer type SmoothL1LossOHEM."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.layers.smooth_l1_loss import SmoothL1Loss
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["SmoothL1LossOHEM"]


@register()
class SmoothL1LossOHEM(SmoothL1Loss):
    """SmoothL1Loss with sigma 1, divided as `loss_param` says, with the loss of each region (R-FCN, Dai et al. 2016).

    Bottoms: a, b (N, C, ...) and optionally weights w: losses of d = w (a - b). Tops: the loss, and optionally the sum
    over the channels (N, 1, ...), which has no gradient. VALID and FULL divide by the number of those sums.
    """

    type = "SmoothL1LossOHEM"
    settings = ("loss_param",)
    bottoms = (2, 3)
    tops = (1, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.sharpness = 1.0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        shape = bottom[0].shape
        if len(shape) < 2:
            self.bad_shape(f"needs a bottom of at least 2 axes, got shape {shape}")
        if len(top) > 1:
            top[1].reshape(shape[0], 1, *shape[2:])

    def take_each(self, losses: Array, top: Sequence[Blob]) -> None:
        if len(top) > 1:
            top[1].data[...] = losses.sum(axis=1, keepdims=True)

    def divisor(self, shape: tuple[int, ...]) -> float:
        inner = math.prod(shape[2:])
        return self.normalizer(shape[0], inner, shape[0] * inner)
