"""The layer type ROIPooling."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.regions import RegionPooling, limited
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["ROIPooling"]


@register()
class ROIPooling(RegionPooling):
    """Each region of interest max-pooled into a grid of pooled_h x pooled_w bins (Fast R-CNN, Girshick 2015).

    Bottoms: features (N, C, H, W) and regions (R, 5): item, x1, y1, x2, y2, inclusive, in pixels of the image, which
    `spatial_scale` converts to those of the features. Top: (R, C, pooled_h, pooled_w). Empty bins are 0.
    """

    type = "ROIPooling"
    settings = ("roi_pooling_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.set_bins(self.param.roi_pooling_param)

    def _edges(self, low: Array, high: Array, bins: int, size: int) -> tuple[Array, Array]:
        """The first position of each bin along one axis and one past the last, each (R, bins), within 0 .. size."""
        xp = xp_of(low)
        first, last = (xp.floor(edge * self.scale + 0.5).astype("int64") for edge in limited(low, high))
        extent = xp.maximum(last - first + 1, 1)[:, None]
        # integer arithmetic: a rounded quotient would sometimes add a row
        steps = xp.arange(bins)
        start = steps * extent // bins + first[:, None]
        end = -(-(steps + 1) * extent // bins) + first[:, None]
        return xp.clip(start, 0, size), xp.clip(end, 0, size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        item, rois = self.regions(bottom)
        xp = xp_of(x)
        _, channels, height, width = x.shape
        top_edge, bottom_edge = self._edges(rois[:, 2], rois[:, 4], self.bins[0], height)
        left, right = self._edges(rois[:, 1], rois[:, 3], self.bins[1], width)
        plane = (item * channels + xp.arange(channels)[:, None, None]) * (height * width)
        flat = x.reshape(-1)
        maxima = xp.full(y.shape, -xp.inf, x.dtype)
        self.winner = xp.full(y.shape, -1, "int64")
        rows = int((bottom_edge - top_edge).max()) if len(rois) else 0
        columns = int((right - left).max()) if len(rois) else 0
        # one step for each position within a bin; smaller bins are masked out
        for i in range(rows):
            row = top_edge + i
            for j in range(columns):
                column = left + j
                inside = ((row < bottom_edge)[:, :, None] & (column < right)[:, None, :])[:, None]
                at = plane + (row[:, :, None] * width + column[:, None, :])[:, None]
                at = xp.where(inside, at, 0)
                value = flat[at]
                better = inside & ((value > maxima) | (self.winner < 0) | xp.isnan(value))  # NaN stays
                maxima = xp.where(better, value, maxima)
                self.winner = xp.where(better, at, self.winner)
        y[...] = xp.where(self.winner < 0, 0, maxima)

    def backward_features(self, dy: Array, bottom: Blob) -> None:
        dx = bottom.diff
        dx[...] = 0
        hit = self.winner >= 0
        xp_of(dx).add.at(dx.reshape(-1), self.winner[hit], dy[hit])
