"""The layer type ROIAlign."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dragon.bases.layer import register
from dragon.bases.regions import RegionPooling
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["ROIAlign"]

# Several points in a bin without sampling_ratio are over half a position apart: at most so many are near a position.
_NEAR = 6
_MOST = 1024  # points along an axis: each takes a pass over the regions


@register()
class ROIAlign(RegionPooling):
    """Each region of interest averaged into a grid of pooled_h x pooled_w bins, without rounding (He et al. 2017).

    Bottoms: features (N, C, H, W) and regions (R, 5): item, x1, y1, x2, y2 in pixels of the image, which
    `spatial_scale` converts to those of the features; a region is at least one of these wide and high. Top: (R, C,
    pooled_h, pooled_w), the mean over sampling_ratio x sampling_ratio points in each bin, or ceil(extent of the bin)
    along each axis without it. A point takes the bilinear interpolation of the features: 0 where it is further than 1
    outside of them. A region with a corner that is NaN or infinite is pooled to 0.
    """

    type = "ROIAlign"
    settings = ("roi_align_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.roi_align_param
        self.set_bins(p)
        self.ratio: int = max(0, p.sampling_ratio)
        if self.ratio > _MOST:
            self.bad_param(f"sampling_ratio must be at most {_MOST}, got {self.ratio}")

    def weights(self, low: Array, high: Array, bins: int, size: int) -> Array:
        """Along one axis the weight of each position in the mean of each bin, (R, bins, size).

        low, high: the ends of each region, in pixels of the image. The weight of a bin is the product of both axes'.
        """
        xp = xp_of(low)
        known = (xp.isfinite(low) & xp.isfinite(high))[:, None, None]
        low, high = (xp.where(known[:, 0, 0], edge, 0) for edge in (low, high))
        start = (low.astype("float64") * self.scale)[:, None, None]
        step = xp.maximum((high.astype("float64") * self.scale)[:, None, None] - start, 1) / bins
        points = xp.ceil(step) if not self.ratio else xp.full_like(step, self.ratio)
        start = start + xp.arange(bins)[:, None] * step
        place = xp.arange(size, dtype="float64")
        nearest = xp.floor((place - 1 - start) * points / step - 0.5)
        nearest = xp.where(points > 1, nearest, 0) if not self.ratio else xp.zeros_like(place)
        found = xp.zeros((len(low), bins, size))
        for i in range(self.ratio or _NEAR):
            at = start + (nearest + i + 0.5) * step / points
            inside = (nearest + i >= 0) & (nearest + i < points) & (at >= -1) & (at <= size)
            share = xp.maximum(1 - abs(xp.clip(at, 0, size - 1) - place), 0)
            found += xp.where(inside, share, 0)
        weights: Array = xp.where(known, found / points, 0)
        return weights

    def _points(self, shape: tuple[int, ...]) -> Iterator[tuple[Array, Array]]:
        """For each offset within the bins: flat indices into the features and weights, both (R, C or 1, *bins)."""
        _, channels, height, width = shape
        if not height * width:
            return  # no position has a value
        xp = xp_of(self.rows)
        plane = (self.item * channels + xp.arange(channels)[:, None, None]) * (height * width)

        def along(weights: Array) -> tuple[Array, int]:
            some = weights != 0
            first = some.argmax(axis=2)
            last = weights.shape[2] - some[:, :, ::-1].argmax(axis=2)
            return first, int(xp.where(some.any(axis=2), last - first, 0).max(initial=0))

        (top, rows), (left, columns) = along(self.rows), along(self.columns)
        for i in range(rows):
            row = xp.minimum(top + i, height - 1)
            down = xp.where(top + i < height, xp.take_along_axis(self.rows, row[:, :, None], axis=2)[:, :, 0], 0)
            for j in range(columns):
                column = xp.minimum(left + j, width - 1)
                across = xp.take_along_axis(self.columns, column[:, :, None], axis=2)[:, :, 0]
                across = xp.where(left + j < width, across, 0)
                at = plane + (row[:, :, None] * width + column[:, None, :])[:, None]
                yield at, (down[:, :, None] * across[:, None, :])[:, None]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        xp = xp_of(x)
        self.item, rois = self.regions(bottom)
        self.rows = self.weights(rois[:, 2], rois[:, 4], self.bins[0], x.shape[2]).astype(x.dtype)
        self.columns = self.weights(rois[:, 1], rois[:, 3], self.bins[1], x.shape[3]).astype(x.dtype)
        flat = x.reshape(-1)
        y[...] = 0
        for at, weight in self._points(x.shape):
            y += xp.where(weight != 0, weight * flat[at], 0)

    def backward_features(self, dy: Array, bottom: Blob) -> None:
        dx = bottom.diff
        xp, flat = xp_of(dx), dx.reshape(-1)
        dx[...] = 0
        for at, weight in self._points(dx.shape):
            xp.add.at(flat, at, xp.where(weight != 0, weight * dy, 0))
