"""SoftmaxWithLoss: mean of -log(softmax(x)[label]) along `softmax_param.axis`; the second top gets the softmax.

Loss: sum over labels that are not ignored, divided as `loss_param` says. Gradient: softmax(x) - onehot(label).
"""

from __future__ import annotations

from collections.abc import Sequence

from dragon.blob import Blob
from dragon.layer import register
from dragon.layers.softmax import softmax
from dragon.loss import Loss, class_labels, label_spans
from dragon.storage import Array
from dragon.xp import xp_of

__all__ = ["SoftmaxWithLoss", "cross_entropy"]


def cross_entropy(prob: Array, label: Array) -> Array:
    """-log(prob[label]) for `prob` (outer, classes, inner) and `label` (outer, inner).

    A probability of 0 counts as the least float32, so that the loss stays finite.
    """
    xp = xp_of(prob)
    picked = xp.take_along_axis(prob, label[:, None], axis=1)[:, 0]
    losses: Array = -xp.log(xp.maximum(picked, xp.finfo("float32").tiny))
    return losses


@register("SoftmaxLoss")
class SoftmaxWithLoss(Loss):
    type = "SoftmaxWithLoss"
    tops = (1, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.prob = Blob((), self.dtype, self.context.where)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.spans = label_spans(self, shape, bottom[1].shape, self.param.softmax_param.axis)
        top[0].reshape(())
        self.prob.reshape(shape)
        if len(top) > 1:
            top[1].reshape(shape)
            top[1].share_data(self.prob)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        outer, classes, inner = self.spans
        prob = self.prob.data.reshape(self.spans)
        label, valid = class_labels(self, bottom[1].data, classes, self.ignore_label)
        softmax(bottom[0].data.reshape(self.spans), 1, prob)
        losses = cross_entropy(prob, label.reshape(outer, inner))
        count = outer * inner
        if valid is not None:
            losses *= valid.reshape(outer, inner)
            count = int(valid.sum())
        self.divisor = self.normalizer(outer, inner, count)
        top[0].data[...] = losses.sum() / self.divisor

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if not propagate_down[0]:
            return
        outer, classes, inner = self.spans
        label, valid = class_labels(self, bottom[1].data, classes, self.ignore_label)
        dx = bottom[0].diff.reshape(self.spans)
        dx[...] = self.prob.data.reshape(self.spans)
        xp = xp_of(dx)
        rows, columns = xp.arange(outer)[:, None], xp.arange(inner)
        dx[rows, label.reshape(outer, inner), columns] -= 1
        if valid is not None:
            dx *= valid.reshape(outer, 1, inner)
        dx *= top[0].diff / self.divisor
