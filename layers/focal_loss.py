"""The layer type FocalLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import register
from dragon.bases.loss import Loss, class_labels, label_spans, without_ignored
from dragon.layers.sigmoid import sigmoid
from dragon.layers.softmax import softmax
from dragon.layers.softmax_with_loss import cross_entropy
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["FocalLoss"]


@register()
class FocalLoss(Loss):
    """Sum of -alpha (1 - p)^gamma log(p), with p the probability of the true class (Lin et al. 2017).

    One label for each position: p is the softmax along `softmax_param.axis`, which the second top holds, and the sum is
    divided by the number of labels that count. One target, 0 or 1, for each value: p is sigmoid(x) for targets 1 and
    1 - sigmoid(x) for targets 0, whose alpha is 1 - alpha, and the sum is divided by the batch size. `loss_param` may
    say otherwise. Bottoms: scores (N, C, ...) and labels or targets.
    """

    type = "FocalLoss"
    settings = ("focal_loss_param", "softmax_param", "loss_param")
    tops = (1, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.focal_loss_param
        if p.type != pb.FocalLossParameter.ORIGIN:
            kind = pb.FocalLossParameter.Type.Name(p.type)
            self.bad_param(f"type {kind}, which programs define in different ways, is not offered; write type: ORIGIN")
        if p.gamma < 0:
            self.bad_param(f"gamma must not be negative, got {p.gamma:g}")
        self.prob = Blob((), self.dtype, self.context.space)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        shape = bottom[0].shape
        # each value by itself is two classes, of which the second has the score and the first a score of 0
        self.binary = math.prod(bottom[1].shape[1:]) == math.prod(shape[1:])
        self.default_normalization = pb.LossParameter.BATCH_SIZE if self.binary else pb.LossParameter.VALID
        self.label_range = 2, self.ignore_label
        if not self.binary:
            self.spans = label_spans(self, shape, bottom[1].shape, self.param.softmax_param.axis)
            self.label_range = self.spans[1], self.ignore_label
        self.prob.reshape(shape)
        if len(top) > 1:
            if self.binary:
                self.bad_param("has one top where each value has a target of its own")
            top[1].reshape(shape)
            top[1].share_data(self.prob)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, prob = bottom[0].data, self.prob.data
        p, xp = self.param.focal_loss_param, xp_of(x)
        alpha = x.dtype.type(p.alpha)
        target, valid = class_labels(self, bottom[1].data, *self.label_range)
        if self.binary:
            target = target.reshape(x.shape)
            self.sign = (2 * target - 1).astype(x.dtype)
            sigmoid(x * self.sign, prob)
            surprise = xp.logaddexp(0, -x * self.sign)
            weight: Array = xp.where(target == 1, alpha, 1 - alpha)
            outer, inner = x.shape[0], math.prod(x.shape[1:])
            right = prob
        else:
            outer, _, inner = self.spans
            target = target.reshape(outer, inner)
            softmax(x.reshape(self.spans), 1, prob.reshape(self.spans))
            surprise = cross_entropy(prob.reshape(self.spans), target)
            right = xp.take_along_axis(prob.reshape(self.spans), target[:, None], axis=1)[:, 0]
            weight = xp.full_like(right, alpha)
            self.target = target
        self.valid = None if valid is None else valid.reshape(weight.shape)
        wrong = xp.maximum(1 - right, xp.finfo(x.dtype).tiny)  # not 0, to a power below 0
        gamma = x.dtype.type(p.gamma)
        focus = weight * wrong**gamma
        # the derivative of the loss with respect to log(p)
        self.slope = -focus - weight * gamma * right * wrong ** (gamma - 1) * surprise
        self.divisor: Any = self.normalizer(outer, inner, outer * inner)
        if valid is not None and self.normalization == pb.LossParameter.VALID:
            self.divisor = xp.maximum(valid.sum(), 1)
        top[0].data[...] = without_ignored(focus * surprise, self.valid).sum() / self.divisor

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if not propagate_down[0]:
            return
        dx, scale = bottom[0].diff, top[0].diff / self.divisor
        xp = xp_of(dx)
        if self.binary:
            xp.multiply(without_ignored(self.slope * self.sign * (1 - self.prob.data), self.valid), scale, out=dx)
            return
        outer, _, inner = self.spans
        slope, d = self.slope * scale, dx.reshape(self.spans)
        xp.multiply(self.prob.data.reshape(self.spans), -slope[:, None], out=d)
        d[xp.arange(outer)[:, None], self.target, xp.arange(inner)] += slope
        if self.valid is not None:
            d[...] = without_ignored(d, self.valid[:, None])
