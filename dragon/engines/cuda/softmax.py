"""Launches softmax.cu: Softmax, SoftmaxWithLoss and Accuracy, without a word to the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.blob import Blob
from dragon.engines.cuda.device import NULL
from dragon.engines.cuda.lowering import Lowering, lowers
from dragon.layer import Layer
from dragon.proto import dragon_pb2 as pb

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
            self.spread(FILE, "softmax_backward_rows", outer * WARP, y, dy, dx, outer, classes)
        else:
            self.spread(FILE, "softmax_backward_columns", outer * inner, y, dy, dx, outer * inner, classes, inner)


class _Labelled(Lowering):
    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    def _ignore(self) -> int | None:
        raise NotImplementedError

    def ignored(self) -> tuple[int, int]:
        """has_ignore, ignore."""
        ignore = self._ignore()
        return int(ignore is not None), ignore or 0

    def describe_fault(self, bottom: Sequence[Blob], position: int) -> str:
        labels, classes, ignore = bottom[1].peek(), self.layer.spans[1], self._ignore()
        at = tuple(int(i) for i in np.unravel_index(position, labels.shape))
        return (
            f"{self.layer.where}: label {float(labels[at]):g} at position {at} is out of range: "
            f"expected 0 to {classes - 1} for {classes} classes"
            + (f", or {ignore} to be ignored" if ignore is not None else "")
        )

    def sum_terms(self, terms: Any, out: Any, positions: int, divisor: float) -> Any:
        """The terms' sum over `divisor` (0: over those that count) into `out`; the divisor, on the device."""
        kept = self.room("divisor", 1)
        fault = NULL if self.fault is None else self.fault
        self.launch(FILE, "sum_terms", 1, terms, out, kept, fault, positions, divisor)
        return kept


@lowers("SoftmaxWithLoss")
class SoftmaxLossLowering(_Labelled):
    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0 and not layer.weights  # the kernels know no weights of classes

    def _ignore(self) -> int | None:
        ignore: int | None = self.layer.ignore_label
        return ignore

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer = self.layer
        outer, classes, inner = layer.spans
        positions = outer * inner
        prob = layer.prob.data
        softmax(self, bottom[0].data, prob, layer.spans)
        terms = self.device.workspace(2 * positions, self.dtype)
        self.spread(
            FILE, "cross_entropy", positions, prob, bottom[1].data, terms, positions, classes, inner, *self.ignored(),
            LEAST,
        )  # fmt: skip
        by_valid = layer.normalization == pb.LossParameter.VALID
        divisor = 0.0 if by_valid else float(layer.normalizer(outer, inner, 0))
        self.sum_terms(terms, top[0].data, positions, divisor)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        layer.check_propagation(propagate_down)
        if not propagate_down[0]:
            return
        _, classes, inner = layer.spans
        dx = bottom[0].diff
        self.spread(
            FILE, "softmax_loss_backward", dx.size, layer.prob.data, bottom[1].data, top[0].diff,
            self.room("divisor", 1), dx, dx.size, classes, inner, *self.ignored(),
        )  # fmt: skip


@lowers("Accuracy")
class AccuracyLowering(_Labelled):
    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return len(top) == 1 and bottom[0].count > 0

    def _ignore(self) -> int | None:
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

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """A count has no gradient."""
