"""The layer type Accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.bases.loss import class_labels, label_spans
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["Accuracy"]


@register()
class Accuracy(Layer):
    """The fraction of labels whose score is among the `top_k` highest along `axis`; a second top has it for each class.

    Bottoms: scores (outer, classes, inner) and labels (outer, inner); a label equal to `ignore_label` does not count. A
    class whose score equals that of the label counts as better, so a net with equal scores for all classes has accuracy
    0. NaN is never correct.
    """

    type = "Accuracy"
    settings = ("accuracy_param",)
    bottoms = (2, 2)
    tops = (1, 2)

    def can_propagate(self, index: int) -> bool:
        return False

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.accuracy_param
        self.top_k: int = p.top_k
        self.ignore: int | None = p.ignore_label if p.HasField("ignore_label") else None
        if self.top_k < 1:
            self.bad_param("top_k must be at least 1, got 0")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.spans = label_spans(self, bottom[0].shape, bottom[1].shape, self.param.accuracy_param.axis)
        if self.top_k > self.spans[1]:
            self.bad_shape(f"top_k is {self.top_k} of {how_many(self.spans[1], 'class')}")
        top[0].reshape(())
        if len(top) > 1:
            top[1].reshape(self.spans[1])

    @property
    def guess_score(self) -> float | None:
        """The share of right answers when classes are guessed: top_k / classes."""
        return self.top_k / self.spans[1]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        outer, classes, inner = self.spans
        scores = bottom[0].data.reshape(self.spans)
        xp = xp_of(scores)
        label, valid = class_labels(self, bottom[1].data, classes, self.ignore)
        label = label.reshape(outer, inner)
        label_score = xp.take_along_axis(scores, label[:, None], axis=1)
        # not "scores >= own": a NaN must not count as a hit
        hit = (~(scores < label_score)).sum(axis=1) <= self.top_k
        counted = xp.ones_like(hit) if valid is None else valid.reshape(outer, inner)
        hit &= counted
        top[0].data[...] = hit.sum() / max(1, int(counted.sum()))
        if len(top) > 1:
            hits = xp.bincount(label[hit], minlength=classes)
            top[1].data[...] = hits / xp.maximum(xp.bincount(label[counted], minlength=classes), 1)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Do nothing: a count has no gradient."""
