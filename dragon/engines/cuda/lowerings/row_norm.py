"""Normalisation of each item by its own statistics, by rows.cu."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels import rows as kernels
from dragon.engines.cuda.lowerings.channels import Channels, channel_sums
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.scale import learn
from dragon.memory.blob import Blob

__all__ = ["MVNLowering", "NormalizeLowering", "RowNormLowering"]

BY_DEVIATION, BY_SUM, BY_MEAN, BY_LENGTH = range(4)


class _Rows(Lowering):
    half = True
    writes_gradients = True

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0

    def normal(self, shape: tuple[int, ...]) -> Any:
        """The normalised bottom, from forward to backward."""
        return self.buffer("normal", shape, self.stored)

    def rows_forward(
        self, bottom: Blob, top: Blob, view: tuple[int, int], mode: int, eps: float, gamma: Any, beta: Any,
        spans: tuple[int, int],
    ) -> None:  # fmt: skip
        """Launch rows_forward. view: (rows, values in each). spans: (inner, channels) of gamma and beta."""
        x, (rows, length), (inner, channels) = bottom.data, view, spans
        self.launch(
            kernels.rows_forward, x=x, gamma=gamma, beta=beta, y=top.data, normal=self.normal(x.shape),
            kept=self.buffer("kept", 3 * rows), rows=rows, length=length, inner=inner, channels=channels, mode=mode,
            eps=eps,
        )  # fmt: skip

    def rows_backward(
        self, bottom: Blob, top: Blob, view: tuple[int, int], gamma: Any, spans: tuple[int, int]
    ) -> None:  # fmt: skip
        """Launch rows_backward, from what rows_forward kept."""
        dy, (rows, length), (inner, channels) = top.diff, view, spans
        self.launch(
            kernels.rows_backward, dy=dy, normal=self.normal(dy.shape), gamma=gamma,
            kept=self.buffer("kept", 3 * rows), dx=bottom.diff, rows=rows, length=length, inner=inner,
            channels=channels,
        )  # fmt: skip

    def learn(self, dy: Any, at: Channels, gamma: Blob, beta: Blob | None = None) -> None:
        """Add to the gradients of gamma and beta."""
        learn(self, at, channel_sums(self.device, at, dy, self.normal(dy.shape)), beta, gamma)


@lowers("GroupNorm", "InstanceNorm", "LayerNorm")
class RowNormLowering(_Rows):
    """GroupNorm, InstanceNorm and LayerNorm."""

    def _spans(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(outer, gammas, inner) of a bottom."""
        laid = self.layer.affine_view
        first = min((i for i, n in enumerate(laid) if n > 1), default=len(shape))
        gammas = math.prod(laid)
        inner = math.prod(shape[max((i for i, n in enumerate(laid) if n > 1), default=-1) + 1 :])
        return (math.prod(shape[:first]), gammas, inner) if gammas > 1 else (1, 1, math.prod(shape))

    def _gammas(self) -> tuple[Any, Any]:
        blobs = self.layer.blobs
        return (blobs[0].data, blobs[1].data) if self.layer.learns else (None, None)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer = self.layer
        spans = self._spans(bottom[0].shape)[:0:-1] if layer.learns else (1, 1)
        self.rows_forward(bottom[0], top[0], layer.view, BY_DEVIATION, float(layer.eps), *self._gammas(), spans)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        layer, dy, spans = self.layer, top[0].diff, (1, 1)
        if layer.learns:
            whole = self._spans(bottom[0].shape)
            spans = whole[:0:-1]
            self.learn(dy, Channels.of(self.device, *whole), *layer.blobs[:2])
        if propagate_down[0]:
            self.rows_backward(bottom[0], top[0], layer.view, self._gammas()[0], spans)


@lowers("MVN")
class MVNLowering(_Rows):
    """MVN: rows minus their mean, and divided by their deviation unless `normalize_variance` is false."""

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer = self.layer
        mode = BY_SUM if layer.scaled else BY_MEAN
        self.rows_forward(bottom[0], top[0], layer.rows, mode, float(layer.eps), None, None, (1, 1))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            self.rows_backward(bottom[0], top[0], self.layer.rows, None, (1, 1))


@lowers("Normalize")
class NormalizeLowering(_Rows):
    """Normalize: items, or the channels at each position, divided by their length."""

    def _sizes(self) -> tuple[bool, bool, tuple[int, int, int]]:
        """Whether lengths are those of whole items, whether channels share one factor, and the bottom as (N, C, S)."""
        layer = self.layer
        return len(layer.over) > 1, not layer.blobs[0].shape, layer.view

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        across, shared, (n, c, s) = self._sizes()
        gamma, eps = self.layer.blobs[0].data, float(self.layer.param.norm_param.eps)
        if across:
            spans = (s, 1 if shared else c)
            self.rows_forward(bottom[0], top[0], (n, c * s), BY_LENGTH, eps, gamma, None, spans)
            return
        x = bottom[0].data
        self.launch(
            kernels.columns_forward, x=x, gamma=gamma, y=top[0].data, normal=self.normal(x.shape),
            inv=self.buffer("inv", n * s), positions=n * s, channels=c, inner=s, shared=shared, eps=eps,
        )  # fmt: skip

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        across, shared, (n, c, s) = self._sizes()
        scale, dy = self.layer.blobs[0], top[0].diff
        at = Channels.of(self.device, *((1, 1, n * c * s) if shared else (n, c, s)))
        self.learn(dy, at, scale)
        if not propagate_down[0]:
            return
        if across:
            self.rows_backward(bottom[0], top[0], (n, c * s), scale.data, (s, 1 if shared else c))
            return
        self.launch(
            kernels.columns_backward, dy=dy, normal=self.normal(dy.shape), gamma=scale.data,
            inv=self.buffer("inv", n * s), dx=bottom[0].diff, positions=n * s, channels=c, inner=s, shared=shared,
        )  # fmt: skip
