"""The layer type TripletLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["TripletLoss"]


@register()
class TripletLoss(Loss):
    """sum max(margin + |a - p|^2 - |a - n|^2, 0) / (2 N) (FaceNet, Schroff et al. 2015, as in caffe-windows).

    Bottoms: anchors a, positives p and negatives n, of one shape (N, ...). All can have a gradient.
    """

    type = "TripletLoss"
    settings = ("triplet_loss_param",)
    bottoms = (3, 3)
    labels = frozenset()

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        shape = bottom[0].shape
        for i, blob in enumerate(bottom[1:], 1):
            if blob.shape[:1] != shape[:1] or blob.count != bottom[0].count:
                self.bad_shape(f"bottom {i} must have the shape of bottom 0: expected {shape}, got {blob.shape}")
        self.view = (shape[0], math.prod(shape[1:]))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        a, p, n = (blob.data.reshape(self.view) for blob in bottom)
        self.near, self.far = a - p, a - n
        margin = a.dtype.type(self.param.triplet_loss_param.margin)
        loss = xp_of(a).maximum(margin + (self.near**2).sum(axis=1) - (self.far**2).sum(axis=1), 0)
        self.counts = (loss > 0)[:, None]
        top[0].data[...] = loss.sum() / (2 * max(1, self.view[0]))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        scale = self.counts * (top[0].diff / max(1, self.view[0]))
        slopes = (self.near - self.far, -self.near, self.far)
        for blob, wanted, slope in zip(bottom, propagate_down, slopes, strict=True):
            if wanted:
                blob.diff[...] = (slope * scale).reshape(blob.shape)
