"""The layer type SoftmaxWithLoss, with the alias SoftmaxLoss, and its cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.loss import Loss, class_labels, label_spans, without_ignored
from dragon.counting import how_many
from dragon.layers.softmax import softmax
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["SoftmaxWithLoss", "cross_entropy"]


def cross_entropy(prob: Array, label: Array) -> Array:
    """-log(prob[label]), (outer, inner), for `prob` (outer, classes, inner) and `label` (outer, inner).

    Probabilities below the smallest normal float32 count as that, so that the loss stays finite.
    """
    xp = xp_of(prob)
    picked = xp.take_along_axis(prob, label[:, None], axis=1)[:, 0]
    losses: Array = -xp.log(xp.maximum(picked, xp.finfo("float32").tiny))
    return losses


@register("SoftmaxLoss")
class SoftmaxWithLoss(Loss):
    """Mean of -log(softmax(x)[label]) along `softmax_param.axis`; the second top holds the softmax.

    Loss: sum over labels that are not ignored, divided as `loss_param` says. Gradient: softmax(x) - onehot(label). With
    `weight_by_label_freqs` (SegNet) each term is multiplied by the `class_weighting` of its label.
    """

    type = "SoftmaxWithLoss"
    settings = ("softmax_param", "loss_param")
    pointwise = True
    tops = (1, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.prob = Blob((), self.dtype, self.context.space)
        p = self.param.loss_param
        self.weights: list[float] = list(p.class_weighting)
        if p.weight_by_label_freqs != bool(self.weights):
            self.bad_param("weight_by_label_freqs: true and class_weighting, one for each class, go together")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.spans = label_spans(self, shape, bottom[1].shape, self.param.softmax_param.axis)
        if self.weights and len(self.weights) != self.spans[1]:
            self.bad_shape(
                f"class_weighting has {how_many(len(self.weights), 'value')} for {how_many(self.spans[1], 'class')}"
            )
        top[0].reshape(())
        self.prob.reshape(shape)
        if len(top) > 1:
            top[1].reshape(shape)
            top[1].share_data(self.prob)

    @property
    def guess_score(self) -> float | None:
        """The loss of equal probabilities: ln(classes); None where labels are weighted."""
        return None if self.weights else math.log(self.spans[1])

    def _weights_of(self, label: Array, like: Array) -> Array:
        """The weights of labels, in the library and type of `like`."""
        weights: Array = xp_of(like).asarray(self.weights, dtype=like.dtype)[label]
        return weights

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        outer, classes, inner = self.spans
        prob = self.prob.data.reshape(self.spans)
        label, valid = class_labels(self, bottom[1].data, classes, self.ignore_label)
        softmax(bottom[0].data.reshape(self.spans), 1, prob)
        label = label.reshape(outer, inner)
        losses = cross_entropy(prob, label)
        if self.weights:
            losses *= self._weights_of(label, losses)
        losses = without_ignored(losses, None if valid is None else valid.reshape(losses.shape))
        self.take_each(losses, top)
        self.divisor = self.normalizer(outer, inner, outer * inner if valid is None else int(valid.sum()))
        top[0].data[...] = losses.sum() / self.divisor

    def take_each(self, losses: Array, top: Sequence[Blob]) -> None:
        """Called with the loss of each label (outer, inner), 0 for ignored ones, for a layer that gives them out."""

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
        label = label.reshape(outer, inner)
        dx[rows, label, columns] -= 1
        if self.weights:
            dx *= self._weights_of(label, dx)[:, None]
        if valid is not None:
            dx[...] = without_ignored(dx, valid.reshape(outer, 1, inner))
        dx *= top[0].diff / self.divisor
