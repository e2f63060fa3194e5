"""Launches softmax.cu: Softmax, SoftmaxWithLoss and Accuracy, without a word to the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.bases.layer import Layer
from dragon.engines.cuda.lowerings.labels import Labelled
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["AccuracyLowering", "SoftmaxLossLowering", "SoftmaxLowering"]

FILE = "softmax"
WARP = 32
LEAST = float(np.finfo(np.float32).tiny)  # a probability of 0 counts as this much


def softmax(lowering: Lowering, x: Any, y: Any, spans: tuple[int, int, int]) -> None:
    """y = softmax of x (outer, classes, inner) along classes."""
    outer, classes, inner = spans
    if inner == 1:
        lowering.spread(FILE, "softmax_rows", outer * WARP, x, y, outer, classes)
    else:
        lowering.spread(FILE, "softmax_columns", outer * inner, x, y, outer * inner, classes, inner)


@lowers("Softmax")
class SoftmaxLowering(Lowering):
    half = True
    wide_tops = (0,)

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    def _spans(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        along: int = self.layer.along
        return math.prod(shape[:along]), shape[along], math.prod(shape[along + 1 :])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        softmax(self, bottom[0].data, top[0].data, self._spans(bottom[0].shape))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        outer, classes, inner = self._spans(bottom[0].shape)
        y, dy, dx = top[0].data, top[0].diff, bottom[0].diff
        if inner == 1:
            self.spread(FILE, "softmax_backward_rows", outer * WARP, y, dy, self.scale, dx, outer, classes)
        else:
            positions = outer * inner
            self.spread(
                FILE, "softmax_backward_columns", positions, y, dy, self.scale, dx, positions, classes, inner
            )  # fmt: skip


@lowers("SoftmaxWithLoss")
class SoftmaxLossLowering(Labelled):
    half = True
    wide_bottoms = (1,)
    wide_tops = (0, 1)

    def _weights(self) -> Any:
        """Of the classes, if they have any."""
        return self.constant("weights", self.layer.weights) if self.layer.weights else None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer = self.layer
        outer, classes, inner = layer.spans
        positions = outer * inner
        prob = layer.prob.data
        softmax(self, bottom[0].data, prob, layer.spans)
        terms = self.device.workspace(2 * positions, self.dtype)
        self.spread(
            FILE, "cross_entropy", positions, prob, bottom[1].data, self._weights(), terms, positions, classes, inner,
            *self.ignored(), LEAST,
        )  # fmt: skip
        self.sum_terms(terms, top[0].data, positions, self.divisor(outer, inner))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        layer.check_propagation(propagate_down)
        if not propagate_down[0]:
            return
        _, classes, inner = layer.spans
        dx = bottom[0].diff
        self.spread(
            FILE, "softmax_loss_backward", dx.size, layer.prob.data, bottom[1].data, self._weights(), top[0].diff,
            self.room("divisor", 1), self.scale, dx, dx.size, classes, inner, *self.ignored(),
        )  # fmt: skip


@lowers("Accuracy")
class AccuracyLowering(Labelled):
    half = True
    wide_bottoms = (1,)
    wide_tops = (0, 1)

    @property
    def ignore(self) -> int | None:
        ignore: int | None = self.layer.ignore
        return ignore

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        outer, classes, inner = self.layer.spans
        positions = outer * inner
        terms = self.device.workspace(2 * positions, self.dtype)
        self.spread(
            FILE, "accuracy_terms", positions, bottom[0].data, bottom[1].data, terms, positions, classes, inner,
            self.layer.top_k, *self.ignored(),
        )  # fmt: skip
        self.sum_terms(terms, top[0].data, positions, 0.0)
        if len(top) > 1:
            self.launch(FILE, "class_accuracy", classes, terms, bottom[1].data, top[1].data, positions)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """A count has no gradient."""
