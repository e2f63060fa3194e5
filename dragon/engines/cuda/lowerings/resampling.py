"""Launches resampling.cu: Interp, Pad and Upsample."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dragon.bases.layer import Layer
from dragon.engines.cuda.lowerings.indices import Indexed
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.rearranging import Strided, copy, strides_of
from dragon.memory.blob import Blob

__all__ = ["InterpLowering", "PadLowering", "UpsampleLowering"]

FILE = "resampling"


class Resampled(Lowering):
    """Each value of the top comes from a place of the bottom; `kernels` are NAME_forward and NAME_backward."""

    half = True
    kernels: ClassVar[str]

    @abstractmethod
    def sizes(self, bottom: Blob, top: Blob) -> tuple[Any, ...]:
        """What both kernels take of the geometry."""

    def fill(self) -> tuple[float, ...]:
        """What forward takes besides."""
        return ()

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        sizes = self.sizes(bottom[0], top[0])
        self.spread(FILE, f"{self.kernels}_forward", y.size, x, y, y.size, *sizes, *self.fill())

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy, dx = top[0].diff, bottom[0].diff
            sizes = self.sizes(bottom[0], top[0])
            self.spread(FILE, f"{self.kernels}_backward", dx.size, dy, dx, dx.size, *sizes)


@lowers("Interp")
class InterpLowering(Resampled):
    kernels = "interp"

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0 and top[0].count > 0

    def sizes(self, bottom: Blob, top: Blob) -> tuple[Any, ...]:
        used, size = self.layer.built
        steps = (np.float64((u - 1) / (s - 1) if s > 1 else 0.0) for u, s in zip(used, size, strict=True))
        starts = (part.start for part in self.layer.window[2:])
        return (*bottom.shape[2:], *used, *starts, *top.shape[2:], *steps)


@lowers("Pad")
class PadLowering(Resampled):
    kernels = "pad"

    def sizes(self, bottom: Blob, top: Blob) -> tuple[int, ...]:
        before = (pads[0] for pads in self.layer.pads)
        return (*bottom.shape[-2:], *top.shape[-2:], *before, self.layer.mode)

    def fill(self) -> tuple[float, ...]:
        return (float(self.layer.param.pad_param.value),)


@lowers("Upsample")
class UpsampleLowering(Indexed):
    """With a second bottom, the mask of a pooling, each value goes back to where that found it."""

    half = True
    wide_bottoms = (1,)  # the mask
    what = "mask"

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if len(bottom) == 1:
            down, across = self.layer.scale
            rows, width = math.prod(x.shape[:3]), x.shape[3]
            shape = (rows, down, width, across)
            copy(self, Strided(shape, (width, 0, 1, 0), strides_of(shape)), x, y)
            return
        last = self.room("last", y.size, "int32")
        self.check(bottom[1], self._size(y))
        self.spread(FILE, "unpool_clear", y.size, last, y.size)
        self.spread(FILE, "unpool_mark", x.size, bottom[1].data, last, x.size, self._size(x), self._size(y))
        self.spread(FILE, "unpool_forward", y.size, x, last, y, y.size)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if len(bottom) == 1:
            self.spread(FILE, "sum_blocks", dx.size, dy, dx, dx.size, dx.shape[3], *self.layer.scale)
        else:
            mask = bottom[1].data
            self.spread(FILE, "unpool_backward", dx.size, dy, mask, dx, dx.size, self._size(dx), self._size(dy))

    def _size(self, images: Any) -> int:
        """Elements of a channel's image."""
        return math.prod(images.shape[2:])
