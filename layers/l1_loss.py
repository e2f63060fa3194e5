"""The layer type L1Loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import register
from dragon.bases.loss import Loss
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["L1Loss"]


@register()
class L1Loss(Loss):
    """sum |a - b| / N; both bottoms can have a gradient. With one bottom, that is the difference.

    `l1_loss_param` makes it FlowNet's loss (Ilg et al. 2017): differences that are NaN, or smaller than `plateau`,
    count as 0 and have no gradient. `l2_per_location`: the sum over positions of sqrt(sum over channels + epsilon) of
    squares; `plateau` then holds for the root of that sum, and `l2_prescale_by_channels` divides it by their number.
    `normalize_by_num_entries` divides by the number of differences that are not NaN over the channels, instead of N.
    """

    type = "L1Loss"
    settings = ("l1_loss_param",)
    bottoms = (1, 2)
    labels = frozenset()

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.param.l1_loss_param.epsilon >= 0:
            self.bad_param(f"epsilon must not be negative, got {self.param.l1_loss_param.epsilon:g}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, b = bottom[0].shape, bottom[-1].shape
        if not a or a[:1] != b[:1] or math.prod(a) != math.prod(b):
            self.bad_shape(f"bottoms must have one shape (N, ...): expected {a}, got {b}")
        p = self.param.l1_loss_param
        by_channel = p.l2_per_location or p.normalize_by_num_entries
        if by_channel and len(a) < 2:
            self.bad_shape(f"l2_per_location and normalize_by_num_entries need a bottom (N, C, ...), got shape {a}")
        self.view = (a[0], a[1] if len(a) > 1 else 1, math.prod(a[2:]))
        top[0].reshape(())

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.l1_loss_param
        d = bottom[0].data
        if len(bottom) > 1:
            d = d - bottom[1].data.reshape(d.shape)
        d, xp = d.reshape(self.view), xp_of(d)
        self.divisor: Any = float(max(1, self.view[0]))
        if self.param.HasField("l1_loss_param"):
            known = ~xp.isnan(d)
            d = xp.where(known, d, 0)
            if p.normalize_by_num_entries:
                self.divisor = xp.maximum(known.sum() / self.view[1], 1)
        if p.l2_per_location:
            prescale = 1 / self.view[1] if p.l2_prescale_by_channels else 1.0
            square = (d * d).sum(axis=1, keepdims=True) * d.dtype.type(prescale)
            far = square >= d.dtype.type(p.plateau) ** 2
            root = xp.sqrt(xp.where(far, square, 0) + d.dtype.type(p.epsilon))
            # no slope where the root is 0, which epsilon 0 makes possible
            self.slope = xp.where(far & (root > 0), d / xp.where(root > 0, root, 1), 0) * d.dtype.type(prescale)
            loss = root.sum()
        else:
            self.slope = xp.sign(d)
            size = abs(d)
            if p.plateau > 0:
                self.slope = self.slope * (size >= d.dtype.type(p.plateau))
                size = size * abs(self.slope)
            loss = size.sum()
        top[0].data[...] = loss / self.divisor

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        scale = top[0].diff / self.divisor
        for blob, wanted, sign in zip(bottom, propagate_down, (1, -1), strict=False):
            if wanted:
                blob.diff[...] = (self.slope * (sign * scale)).reshape(blob.shape)
