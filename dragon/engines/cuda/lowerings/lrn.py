"""Launches lrn.cu: local response normalisation across channels or within a channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["LRNLowering"]

FILE = "lrn"


@lowers("LRN")
class LRNLowering(Lowering):
    half = True

    def _region(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """across, channels, height, width, reach: the kernels' arguments."""
        across = self.layer.across
        spatial = (math.prod(shape[2:]), 1) if across else shape[2:]
        return (int(across), shape[1], *spatial, self.layer.local_size // 2)

    @property
    def _scale(self) -> float:
        size = self.layer.local_size
        return float(self.layer.alpha / (size if self.layer.across else size * size))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, x, y = self.layer, bottom[0].data, top[0].data
        if top[0] is bottom[0]:  # neighbours read x while y is written, and so does backward
            kept = self.room("x", x.shape, self.stored)
            self.spread("elementwise", "weighted_sum", x.size, x, x, kept, x.size, False, 1.0, 0.0)
            x = kept
        self.spread(
            FILE, "lrn_forward", x.size, x, y, self.room("base", x.shape), x.size, *self._region(x.shape),
            float(layer.k), self._scale, float(layer.beta),
        )  # fmt: skip

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        x = self.room("x", dy.shape, self.stored) if top[0] is bottom[0] else bottom[0].data
        base = self.room("base", x.shape)
        ratio = self.device.workspace(x.size, self.dtype)
        beta = float(self.layer.beta)
        self.spread(FILE, "lrn_ratio", x.size, x, dy, base, ratio, x.size, beta)
        self.spread(
            FILE, "lrn_backward", x.size, x, dy, base, ratio, dx, x.size, *self._region(x.shape), self._scale, beta
        )
