"""The layer type PSROIPooling."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.regions import PositionSensitive, limited
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["MIN_EXTENT", "PSROIPooling"]

MIN_EXTENT = 0.1  # of a region, in pixels of the features


@register()
class PSROIPooling(PositionSensitive):
    """Position-sensitive average pooling of regions of interest (R-FCN, Dai et al. 2016).

    Bottoms: features (N, output_dim * group_size^2, H, W) and regions (R, 5) as in ROIPooling. Top: (R, output_dim,
    group_size, group_size); bin (i, j) of output c averages channel (c * group_size + i) * group_size + j. The sum over
    a bin is computed from a summed-area table in float64.
    """

    type = "PSROIPooling"
    settings = ("psroi_pooling_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.set_groups(self.param.psroi_pooling_param)

    def _edges(self, low: Array, high: Array, size: int) -> tuple[Array, Array]:
        """The first position of each bin along one axis and one past the last, each (R, group), within 0 .. size."""
        xp = xp_of(low)
        low, high = limited(low, high)
        start = xp.floor(low + 0.5) * self.scale
        end = (xp.floor(high + 0.5) + 1) * self.scale
        extent = xp.maximum(end - start, MIN_EXTENT)[:, None] / self.group
        steps = xp.arange(self.group)
        first = xp.floor(steps * extent + start[:, None])
        last = xp.ceil((steps + 1) * extent + start[:, None])
        return tuple(xp.clip(edge, 0, size).astype("int64") for edge in (first, last))

    def _place(self, bottom: Sequence[Blob]) -> None:
        """Set the flat indices of each bin's four corners in the summed-area table, and 1 / area of each bin."""
        _, channels, height, width = bottom[0].shape
        item, rois = self.regions(bottom)
        xp = xp_of(rois)
        rows = [edge[:, None, :, None] for edge in self._edges(rois[:, 2], rois[:, 4], height)]
        columns = [edge[:, None, None, :] for edge in self._edges(rois[:, 1], rois[:, 3], width)]
        area = xp.maximum(rows[1] - rows[0], 0) * xp.maximum(columns[1] - columns[0], 0)
        self.factor = xp.where(area > 0, 1 / xp.maximum(area, 1), 0)
        channel = xp.arange(channels).reshape(self.outputs, self.group, self.group)
        plane = (item * channels + channel) * ((height + 1) * (width + 1))
        self.corners = [
            (sign, plane + rows[i] * (width + 1) + columns[j])
            for i, j, sign in ((1, 1, 1), (0, 1, -1), (1, 0, -1), (0, 0, 1))
        ]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self._place(bottom)
        x = bottom[0].data
        n, channels, height, width = x.shape
        sums = xp_of(x).zeros((n, channels, height + 1, width + 1), "float64")
        sums[:, :, 1:, 1:] = x.cumsum(axis=2, dtype="float64").cumsum(axis=3)
        flat = sums.reshape(-1)
        top[0].data[...] = sum(sign * flat[at] for sign, at in self.corners) * self.factor

    def backward_features(self, dy: Array, bottom: Blob) -> None:
        n, channels, height, width = bottom.shape
        share = dy * self.factor
        xp = xp_of(share)
        spread = xp.zeros((n, channels, height + 1, width + 1), "float64")
        for sign, at in self.corners:
            xp.add.at(spread.reshape(-1), at, sign * share)
        backwards = xp.flip(xp.flip(spread, (2, 3)).cumsum(axis=2).cumsum(axis=3), (2, 3))
        bottom.diff[...] = backwards[:, :, 1:, 1:]
