"""Launches regions.cu: ROIPooling and PSROIPooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dragon.bases.layer import Layer
from dragon.engines.cuda.lowerings.indices import Indexed
from dragon.engines.cuda.lowerings.lowering import lowers
from dragon.engines.cuda.lowerings.rearranging import fill
from dragon.memory.blob import Blob

__all__ = ["PSROIPoolingLowering", "ROIPoolingLowering"]

FILE = "regions"


class _Regions(Indexed):
    half = True
    wide_bottoms = (1,)
    what = "item of a region"
    each = 5

    @classmethod
    def takes(cls, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        return bottom[0].count > 0 and top[0].count > 0

    def sizes(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> tuple[Any, ...]:
        """The kernels' last arguments."""
        return (*bottom[0].shape, *top[0].shape[2:], np.float64(self.layer.scale))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check(bottom[1], bottom[0].shape[0])
        self.pool(bottom[0].data, bottom[1].data, top[0].data, self.sizes(bottom, top))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            fill(self, bottom[1].diff)
        if propagate_down[0]:
            self.spread_out(top[0].diff, bottom[1].data, bottom[0].diff, self.sizes(bottom, top))

    def pool(self, x: Any, rois: Any, y: Any, sizes: tuple[Any, ...]) -> None:
        raise NotImplementedError

    def spread_out(self, dy: Any, rois: Any, dx: Any, sizes: tuple[Any, ...]) -> None:
        raise NotImplementedError


@lowers("ROIPooling")
class ROIPoolingLowering(_Regions):
    def pool(self, x: Any, rois: Any, y: Any, sizes: tuple[Any, ...]) -> None:
        self.spread(FILE, "roi_forward", y.size, x, rois, y, self._winner(y.shape), y.size, *sizes)

    def spread_out(self, dy: Any, rois: Any, dx: Any, sizes: tuple[Any, ...]) -> None:
        winner, regions = self._winner(dy.shape), dy.shape[0]
        self.spread(FILE, "roi_backward", dx.size, dy, rois, winner, dx, dx.size, regions, *sizes)

    def _winner(self, shape: tuple[int, ...]) -> Any:
        return self.room("winner", shape, "int32")


@lowers("PSROIPooling")
class PSROIPoolingLowering(_Regions):
    def pool(self, x: Any, rois: Any, y: Any, sizes: tuple[Any, ...]) -> None:
        self.spread(FILE, "psroi_forward", y.size, x, rois, y, y.size, self.layer.outputs, *sizes)

    def spread_out(self, dy: Any, rois: Any, dx: Any, sizes: tuple[Any, ...]) -> None:
        regions = dy.shape[0]
        self.spread(FILE, "psroi_backward", dx.size, dy, rois, dx, dx.size, regions, self.layer.outputs, *sizes)
