"""Softmax and SoftmaxWithLoss, by softmax.cu. Nothing waits for the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels import softmax as kernels
from dragon.engines.cuda.kernels.kernel import THREADS, WARP
from dragon.engines.cuda.lowerings.labels import Labelled
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["SoftmaxLossLowering", "SoftmaxLowering", "softmax"]

LONG = 512  # classes from which on a block computes a row instead of a warp
LEAST = float(np.finfo(np.float32).tiny)  # smaller probabilities count as this, as in Caffe


def softmax(lowering: Lowering, x: Any, y: Any, spans: tuple[int, int, int]) -> None:
    """Launch y = softmax of x along the classes; spans: both as (outer, classes, inner)."""
    outer, classes, inner = spans
    if inner == 1:
        kernel = kernels.softmax_rows if classes < LONG else kernels.softmax_long_rows
        lowering.launch(kernel, x=x, y=y, rows=outer, classes=classes)
    else:
        lowering.launch(kernels.softmax_columns, x=x, y=y, positions=outer * inner, classes=classes, inner=inner)


@lowers("Softmax")
class SoftmaxLowering(Lowering):
    """Softmax, with float32 probabilities."""

    half = True
    float32_tops = (0,)

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
        arrays = {"y": top[0].data, "dy": top[0].diff, "scale": self.scale, "dx": bottom[0].diff}
        if inner == 1:
            short = classes < LONG
            kernel = kernels.softmax_backward_rows if short else kernels.softmax_backward_long_rows
            self.launch(kernel, **arrays, rows=outer, classes=classes)
        else:
            positions = outer * inner
            self.launch(
                kernels.softmax_backward_columns, **arrays, positions=positions, classes=classes, inner=inner
            )  # fmt: skip


@lowers("SoftmaxWithLoss")
class SoftmaxLossLowering(Labelled):
    """SoftmaxWithLoss: backward starts from the probabilities that forward kept in the layer."""

    half = True
    float32_bottoms = (1,)
    float32_tops = (0, 1)

    def _weights(self) -> Any:
        """The classes' weights on the device, or None."""
        return self.constant("weights", self.layer.weights) if self.layer.weights else None

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer = self.layer
        outer, classes, inner = layer.spans
        positions = outer * inner
        given = {
            "x": bottom[0].data, "label": bottom[1].data, "weights": self._weights(), "prob": layer.prob.data,
            "positions": positions, "classes": classes, **self.ignored(), "least": LEAST,
        }  # fmt: skip
        divisor = self.divisor(outer, inner)
        if inner > 1:
            total = self.total(top[0].data, positions, divisor)
            self.launch(kernels.softmax_loss_columns, **given, **total, inner=inner)
        else:
            short = classes < LONG
            kernel = kernels.softmax_loss_rows if short else kernels.softmax_loss_long_rows
            total = self.total(top[0].data, positions * (WARP if short else THREADS), divisor)
            self.launch(kernel, **given, **total)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer = self.layer
        layer.check_propagation(propagate_down)
        if not propagate_down[0]:
            return
        _, classes, inner = layer.spans
        dx = bottom[0].diff
        self.launch(
            kernels.softmax_loss_backward, prob=layer.prob.data, label=bottom[1].data, weights=self._weights(),
            top_diff=top[0].diff, divisor=self.buffer("divisor", 1), scale=self.scale, dx=dx, count=dx.size,
            classes=classes, inner=inner, **self.ignored(),
        )  # fmt: skip
