"""The layer type MultinomialLogisticLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss, class_labels
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["MultinomialLogisticLoss"]

_MIN_PROBABILITY = 1e-20  # smaller probabilities count as this, as in Caffe


@register()
class MultinomialLogisticLoss(Loss):
    """-sum(log(p[label])) / N for probabilities p.

    SoftmaxWithLoss, which takes scores, is numerically better than Softmax followed by this loss. Bottoms:
    probabilities (N, ...) with a value for each class, labels (N).
    """

    type = "MultinomialLogisticLoss"

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        self.check_one_label_per_item(bottom)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        n = bottom[0].shape[0]
        prob = bottom[0].data.reshape(n, math.prod(bottom[0].shape[1:]))
        xp = xp_of(prob)
        label, _ = class_labels(self, bottom[1].data, prob.shape[1], None)
        self.label = label.ravel()
        self.picked = xp.maximum(prob[xp.arange(n), self.label], _MIN_PROBABILITY)
        top[0].data[...] = -xp.log(self.picked).sum() / max(1, n)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if propagate_down[0]:
            n = bottom[0].shape[0]
            dx = bottom[0].diff.reshape(n, math.prod(bottom[0].shape[1:]))
            dx[...] = 0
            dx[xp_of(dx).arange(n), self.label] = -top[0].diff / max(1, n) / self.picked
