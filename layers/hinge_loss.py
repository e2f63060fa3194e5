"""The layer type HingeLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss, class_labels
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["HingeLoss"]


@register()
class HingeLoss(Loss):
    """One-against-all hinge loss: sum(max(0, 1 - t x)^p) / N.

    t is 1 for the class of the label and -1 for the others; p is 1 for `norm` L1 and 2 for L2. Bottoms: x (N, ...) with
    a value for each class, labels (N).
    """

    type = "HingeLoss"
    settings = ("hinge_loss_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.squared: bool = self.param.hinge_loss_param.norm == pb.HingeLossParameter.L2

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        self.check_one_label_per_item(bottom)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        n = bottom[0].shape[0]
        x = bottom[0].data.reshape(n, math.prod(bottom[0].shape[1:]))
        xp = xp_of(x)
        label, _ = class_labels(self, bottom[1].data, x.shape[1], None)
        self.sign = xp.ones_like(x)
        self.sign[xp.arange(n), label.ravel()] = -1
        self.excess = xp.maximum(0, 1 + self.sign * x)
        total = (self.excess**2 if self.squared else self.excess).sum()
        top[0].data[...] = total / max(1, n)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if propagate_down[0]:
            slope = 2 * self.excess if self.squared else (self.excess > 0)
            dx = self.sign * slope * (top[0].diff / max(1, len(self.sign)))
            bottom[0].diff[...] = dx.reshape(bottom[0].shape)
