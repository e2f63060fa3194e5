"""The layer type PSROIAlign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.regions import PositionSensitive
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["PSROIAlign"]


@register()
class PSROIAlign(PositionSensitive):
    """PSROIPooling without rounding: each bin is the mean of four bilinear points, at its quarters.

    Bottoms and top as PSROIPooling's. A region runs from x1 to x2, in pixels of the image times `spatial_scale`. A
    point outside of the features counts as 0, and so does a bin without extent.
    """

    type = "PSROIAlign"
    settings = ("psroi_align_param",)
    host_only = "checks which item each region lies in, and has no kernels that do it"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.set_groups(self.param.psroi_align_param)

    @np.errstate(invalid="ignore")  # infinite corners
    def _axis(self, low: Array, high: Array, size: int) -> list[tuple[Array, Array]]:
        """Positions and weights along one axis: for both points of each bin the lower and the upper neighbour."""
        xp = xp_of(low)
        start = low.astype("float64")[:, None] * self.scale
        step = (high.astype("float64")[:, None] * self.scale - start) / self.group
        found = []
        for quarter in (0.25, 0.75):
            place = start + (xp.arange(self.group) + quarter) * step
            counts = (place >= 0) & (place <= size - 1) & (step > 0)
            place = xp.where(counts, place, 0)  # a corner that is not a number has no place
            below = xp.floor(place)
            part = place - below
            found.append((below.astype("int64"), xp.where(counts, 1 - part, 0)))
            found.append((xp.minimum(below + 1, size - 1).astype("int64"), xp.where(counts, part, 0)))
        return found

    def _points(self, bottom: Sequence[Blob]) -> Iterator[tuple[Array, Array]]:
        """Flat indices of the features and their weights in the bins, both (R, outputs or 1, group, group)."""
        _, channels, height, width = bottom[0].shape
        item, rois = self.regions(bottom)
        if not height * width:
            return  # no position has a value
        xp = xp_of(rois)
        channel = xp.arange(channels).reshape(self.outputs, self.group, self.group)
        plane = (item * channels + channel) * (height * width)
        across = self._axis(rois[:, 1], rois[:, 3], width)
        for row, down in self._axis(rois[:, 2], rois[:, 4], height):
            for column, right in across:
                at = plane + (row[:, :, None] * width + column[:, None, :])[:, None]
                yield at, (down[:, :, None] * right[:, None, :])[:, None] / 4

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data.reshape(-1), top[0].data
        xp = xp_of(x)
        self.points = list(self._points(bottom))
        y[...] = 0
        for at, weight in self.points:
            y += xp.where(weight != 0, x[at] * weight, 0)

    def backward_features(self, dy: Array, bottom: Blob) -> None:
        dx = bottom.diff
        xp, flat = xp_of(dx), dx.reshape(-1)
        dx[...] = 0
        for at, weight in self.points:
            xp.add.at(flat, at, xp.where(weight != 0, dy * weight, 0))
