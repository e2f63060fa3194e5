"""The layer type CenterLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss, class_labels
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["CenterLoss"]


@register()
class CenterLoss(Loss):
    """sum |x - c|^2 / (2 N), with c the centre of the item's class (Wen et al. 2016); sum |x - c|_1 / N for L1.

    Bottoms: x (N, ...) and labels (N). Blob: centres (num_output, K), where K is the product of the axes from `axis`
    on. Centres are moved, not descended: what is added to the diff of the centre of class j is the sum of c - x (of its
    signs for L1) over the items of j, divided by 1 + their number, whatever the loss weight is.
    """

    type = "CenterLoss"
    settings = ("center_loss_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.center_loss_param
        if p.num_output < 1:
            self.bad_param("num_output must be at least 1")
        if p.distance_type not in ("L1", "L2"):
            self.bad_param(f'distance_type must be "L1" or "L2", got "{p.distance_type}"')
        self.absolute = p.distance_type == "L1"
        self.inputs = math.prod(bottom[0].shape[self.axis(p.axis, bottom[0].ndim) :])
        self.add_blob((p.num_output, self.inputs), p.center_filler, "centre")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        shape = bottom[0].shape
        axis = self.axis(self.param.center_loss_param.axis, len(shape))
        if math.prod(shape[axis:]) != self.inputs:
            self.bad_shape(f"has centres of {how_many(self.inputs, 'value')}, got a bottom of shape {shape}")
        self.rows = math.prod(shape[:axis])
        self.label_range = self.blobs[0].shape[0], None
        if bottom[1].count != self.rows:
            self.bad_shape(f"expected {how_many(self.rows, 'label')}, got shape {bottom[1].shape}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, centres = bottom[0].data.reshape(self.rows, self.inputs), self.blobs[0].data
        self.label = class_labels(self, bottom[1].data, *self.label_range)[0].reshape(-1)
        self.difference = x - centres[self.label]
        loss = abs(self.difference).sum() if self.absolute else (self.difference**2).sum() / 2
        top[0].data[...] = loss / max(1, self.rows)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        xp = xp_of(self.difference)
        slope = xp.sign(self.difference) if self.absolute else self.difference
        centres = self.blobs[0]
        members = (self.label[None, :] == xp.arange(centres.shape[0])[:, None]).astype(slope.dtype)
        centres.diff[...] -= (members @ slope) / (1 + members.sum(axis=1, keepdims=True))
        if propagate_down[0]:
            bottom[0].diff[...] = (slope * (top[0].diff / max(1, self.rows))).reshape(bottom[0].shape)
