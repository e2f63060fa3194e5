"""The layer type ContrastiveLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["ContrastiveLoss"]

_DISTANCE_EPS = 1e-4  # added to a distance before dividing by it, as in Caffe


@register()
class ContrastiveLoss(Loss):
    """Contrastive loss: draws similar pairs together and pushes others `margin` apart (Hadsell, Chopra & LeCun 2006).

    With d the distance of a pair: sum(s d^2 + (1 - s) max(margin - d, 0)^2) / (2 N), or max(margin - d^2, 0) in the
    second term with `legacy_version`. Bottoms: a, b (N, C) and s (N), 0 for pairs that are not similar.
    """

    type = "ContrastiveLoss"
    settings = ("contrastive_loss_param",)
    bottoms = (3, 3)
    labels = frozenset({2})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.contrastive_loss_param
        self.margin: float = p.margin
        self.legacy: bool = p.legacy_version

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        a, b, s = (blob.shape for blob in bottom)
        if bottom[0].count != bottom[1].count:
            self.bad_shape(f"both bottoms of a pair must have one shape: expected {a}, got {b}")
        if bottom[2].count != a[0]:
            self.bad_shape(
                f"bottom 2 must say for each of {how_many(a[0], 'pair')} whether it is similar, got shape {s}"
            )

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a = bottom[0].data
        xp, n = xp_of(a), a.shape[0]
        self.difference = (a - bottom[1].data.reshape(a.shape)).reshape(n, math.prod(a.shape[1:]))
        self.similar = bottom[2].data.reshape(n).astype("int64") != 0
        self.squared = (self.difference**2).sum(axis=1)
        if self.legacy:
            apart = xp.maximum(self.margin - self.squared, 0)
        else:
            apart = xp.maximum(self.margin - xp.sqrt(self.squared), 0) ** 2
        top[0].data[...] = xp.where(self.similar, self.squared, apart).sum() / (2 * max(1, n))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        xp = xp_of(self.difference)
        if self.legacy:
            push = xp.where(self.margin - self.squared > 0, -1, 0)
        else:
            distance = xp.sqrt(self.squared)
            push = -xp.maximum(self.margin - distance, 0) / (distance + _DISTANCE_EPS)
        factor = xp.where(self.similar, 1, push) * (top[0].diff / max(1, len(self.squared)))
        gradient = self.difference * factor[:, None].astype(self.difference.dtype)
        for blob, wanted, sign in zip(bottom[:2], propagate_down, (1, -1), strict=False):
            if wanted:
                blob.diff[...] = (sign * gradient).reshape(blob.shape)
