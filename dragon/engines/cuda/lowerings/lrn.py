"""LRN, by lrn.cu: across channels or within a channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.engines.cuda.kernels.lrn import lrn_backward, lrn_forward, lrn_ratio
from dragon.engines.cuda.lowerings.elementwise import copied
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.memory.blob import Blob

__all__ = ["LRNLowering"]


@lowers("LRN")
class LRNLowering(Lowering):
    """LRN: forward keeps the bases of the power for backward, and in place a copy of the bottom."""

    half = True

    @classmethod
    def takes_channels_last(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bool(layer.across)

    def _region(self, shape: tuple[int, ...]) -> dict[str, int]:
        """The kernels' arguments for a bottom of this shape."""
        across = self.layer.across
        height, width = (math.prod(shape[2:]), 1) if across else shape[2:]
        if self.channels_last:
            height = width = 1  # each position is an image of its own
        reach = self.layer.local_size // 2
        return {"across": across, "channels": shape[1], "height": height, "width": width, "reach": reach}

    @property
    def _scale(self) -> float:
        size = self.layer.local_size
        return float(self.layer.alpha / (size if self.layer.across else size * size))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        layer, x, y = self.layer, bottom[0].data, top[0].data
        if top[0] is bottom[0]:  # neighbours read x while y is written, and so does backward
            kept = self.buffer("x", x.shape, self.stored)
            copied(self, x, kept)
            x = kept
        self.launch(
            lrn_forward, x=x, y=y, base=self.buffer("base", x.shape), count=x.size, **self._region(x.shape),
            k=float(layer.k), scale=self._scale, beta=float(layer.beta),
        )  # fmt: skip

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        x = self.buffer("x", dy.shape, self.stored) if top[0] is bottom[0] else bottom[0].data
        base = self.buffer("base", x.shape)
        ratio = self.device.workspace(x.size, self.dtype)
        beta = float(self.layer.beta)
        self.launch(lrn_ratio, x=x, dy=dy, base=base, ratio=ratio, count=x.size, beta=beta)
        self.launch(
            lrn_backward, x=x, dy=dy, base=base, ratio=ratio, dx=dx, count=x.size, **self._region(x.shape),
            scale=self._scale, beta=beta,
        )  # fmt: skip
