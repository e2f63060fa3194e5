"""Launches pooling.cu: maximum (with its mask) and average over two spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dragon.blob import Blob
from dragon.engines.cuda.lowering import Lowering, lowers
from dragon.proto import dragon_pb2 as pb

__all__ = ["PoolingLowering"]

FILE = "pooling"


@lowers("Pooling")
class PoolingLowering(Lowering):
    @classmethod
    def takes(cls, layer: Any, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        known = layer.method in (pb.PoolingParameter.MAX, pb.PoolingParameter.AVE)
        return known and bottom[0].ndim == 4 and math.prod(bottom[0].shape) > 0

    def _window(self, bottom: Blob, top: Blob) -> tuple[int, ...]:
        w = self.layer.window
        return (*bottom.shape[2:], *top.shape[2:], *w.kernel, *w.stride, *w.before)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        window = self._window(bottom[0], top[0])
        if self.layer.method == pb.PoolingParameter.MAX:
            mask = self.room("mask", y.shape, "int32")
            shown = top[1].data if len(top) > 1 else None
            self.spread(FILE, "max_forward", y.size, x, y, mask, shown, y.size, *window)
        else:
            self.spread(FILE, "average_forward", y.size, x, y, y.size, *window)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        window = self._window(bottom[0], top[0])
        if self.layer.method == pb.PoolingParameter.MAX:
            self.spread(FILE, "max_backward", dx.size, dy, self.room("mask", dy.shape, "int32"), dx, dx.size, *window)
        else:
            self.spread(FILE, "average_backward", dx.size, dy, dx, dx.size, *window)
