"""Interp, Pad and Upsample, by resampling.cu."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from dragon.bases.layer import Layer
from dragon.engines.cuda.kernels import resampling as kernels
from dragon.engines.cuda.kernels.kernel import Kernel
from dragon.engines.cuda.lowerings.indices import Indexed
from dragon.engines.cuda.lowerings.lowering import Lowering, lowers
from dragon.engines.cuda.lowerings.rearranging import Strided, copy, strides_of
from dragon.memory.blob import Blob

__all__ = ["InterpLowering", "PadLowering", "UpsampleLowering"]


class Resampled(Lowering):
    """A layer whose top is computed from positions of the bottom that depend on sizes and settings alone."""

    half = True
    forward_kernel: ClassVar[Kernel]
    backward_kernel: ClassVar[Kernel]

    @abstractmethod
    def sizes(self, bottom: Blob, top: Blob) -> dict[str, Any]:
        """The arguments of both kernels that describe the geometry."""

    def fill(self) -> dict[str, float]:
        """The other arguments of the forward kernel."""
        return {}

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        sizes = self.sizes(bottom[0], top[0])
        self.launch(self.forward_kernel, x=x, y=y, count=y.size, **sizes, **self.fill())

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy, dx = top[0].diff, bottom[0].diff
            sizes = self.sizes(bottom[0], top[0])
            self.launch(self.backward_kernel, dy=dy, dx=dx, count=dx.size, **sizes)


@lowers("Interp")
class InterpLowering(Resampled):
    """Interp: bilinear, the corners stay where they are."""

    forward_kernel, backward_kernel = kernels.interp_forward, kernels.interp_backward

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0 and top[0].count > 0

    def sizes(self, bottom: Blob, top: Blob) -> dict[str, Any]:
        used, size = self.layer.built
        steps = [(u - 1) / (s - 1) if s > 1 else 0.0 for u, s in zip(used, size, strict=True)]
        rows, columns = self.layer.window[2:]
        return {
            "height": bottom.shape[2], "width": bottom.shape[3], "used_h": used[0], "used_w": used[1],
            "top": rows.start, "left": columns.start, "out_h": top.shape[2], "out_w": top.shape[3],
            "step_h": steps[0], "step_w": steps[1],
        }  # fmt: skip


@lowers("Pad")
class PadLowering(Resampled):
    """Pad: a border of a constant, of reflected or of repeated values."""

    forward_kernel, backward_kernel = kernels.pad_forward, kernels.pad_backward

    def sizes(self, bottom: Blob, top: Blob) -> dict[str, Any]:
        above, left = (pads[0] for pads in self.layer.pads)
        return {
            "height": bottom.shape[-2], "width": bottom.shape[-1], "out_h": top.shape[-2], "out_w": top.shape[-1],
            "top": above, "left": left, "mode": self.layer.mode,
        }  # fmt: skip

    def fill(self) -> dict[str, float]:
        return {"value": float(self.layer.param.pad_param.value)}


@lowers("Upsample")
class UpsampleLowering(Indexed):
    """Upsample: repeated values; with a second bottom, the mask of a pooling, each value at its mask."""

    half = True
    float32_bottoms = (1,)  # the mask
    what = "mask"

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if len(bottom) == 1:
            down, across = self.layer.scale
            rows, width = math.prod(x.shape[:3]), x.shape[3]
            shape = (rows, down, width, across)
            copy(self, Strided(shape, (width, 0, 1, 0), strides_of(shape)), x, y)
            return
        last = self.buffer("last", y.size, "int32")
        self.check(bottom[1], self._size(y))
        self.launch(kernels.unpool_clear, last=last, count=y.size)
        self.launch(
            kernels.unpool_last, mask=bottom[1].data, last=last, count=x.size, size=self._size(x),
            out_size=self._size(y),
        )  # fmt: skip
        self.launch(kernels.unpool_forward, x=x, last=last, y=y, count=y.size)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if len(bottom) == 1:
            down, across = self.layer.scale
            self.launch(
                kernels.sum_blocks, dy=dy, dx=dx, count=dx.size, width=dx.shape[3], scale_h=down, scale_w=across
            )  # fmt: skip
        else:
            self.launch(
                kernels.unpool_backward, dy=dy, mask=bottom[1].data, dx=dx, count=dx.size, size=self._size(dx),
                out_size=self._size(dy),
            )  # fmt: skip

    def _size(self, images: Any) -> int:
        """Elements of a channel's image."""
        return math.prod(images.shape[2:])
