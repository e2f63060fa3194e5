"""Base of layers that pool regions of interest: rows (item, x1, y1, x2, y2), which have no gradient."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.indices import checked_indices
from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["PositionSensitive", "RegionPooling", "limited"]

_FAR = 2.0**31  # pixels; no image is as large


class RegionPooling(Layer):
    """Bottoms: features (N, C, H, W) and regions (R, 5). Top: (R, *grid).

    A subclass gives forward and `backward_features`, and calls in `setup` either `set_bins`, or `set_spatial_scale`
    where it has a `grid` of its own. Raises ShapeError for bottoms of other shapes, DataError for an item that is out
    of range.
    """

    bottoms = (2, 2)
    bins: tuple[int, int]  # rows and columns

    def can_propagate(self, index: int) -> bool:
        return index == 0

    def set_bins(self, p: pb.ROIPoolingParameter | pb.ROIAlignParameter) -> None:
        """Set the bins, pooled_h x pooled_w, and the spatial scale. Raises PrototxtError unless they are positive."""
        self.bins = (p.pooled_h, p.pooled_w)
        if min(self.bins) < 1:
            self.bad_param(f"pooled_h and pooled_w must be at least 1, got {self.bins}")
        self.set_spatial_scale(p.spatial_scale)

    def set_spatial_scale(self, scale: float) -> None:
        """Set the factor from pixels of the image to those of the features. Raises PrototxtError unless positive."""
        self.scale = scale
        if not scale > 0:
            self.bad_param(f"spatial_scale must be positive, got {scale:g}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, rois = bottom[0].shape, bottom[1].shape
        if len(x) != 4 or not rois or bottom[1].count != rois[0] * 5:
            self.bad_shape(f"expected features (N, C, H, W) and regions (R, 5), got {x} and {rois}")
        top[0].reshape(rois[0], *self.grid(x))

    def grid(self, features: tuple[int, ...]) -> tuple[int, int, int]:
        """Channels, rows and columns of a pooled region, for features of this shape."""
        return features[1], *self.bins

    def regions(self, bottom: Sequence[Blob]) -> tuple[Array, Array]:
        """The items that the regions lie in (R, 1, 1, 1), and the rows of bottom 1 (R, 5)."""
        rois = bottom[1].data.reshape(-1, 5)
        items = checked_indices(self, rois[:, 0], bottom[0].shape[0], "item of a region")
        return items[:, None, None, None], rois

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:  # the regions come from layers with weights, as in Faster R-CNN
            bottom[1].diff[...] = 0
        if propagate_down[0]:
            self.backward_features(top[0].diff, bottom[0])

    def backward_features(self, dy: Array, bottom: Blob) -> None:
        """Write the gradient of the features to the diff of `bottom`; dy: the diff of the top."""
        raise NotImplementedError


def limited(low: Array, high: Array) -> tuple[Array, Array]:
    """Corners of regions along one axis, each (R), in float64 and within 2^31 pixels, so that they fit integers.

    A region with a corner that is NaN lies outside of every image.
    """
    xp = xp_of(low)
    unknown = xp.isnan(low) | xp.isnan(high)
    low, high = (xp.where(unknown, _FAR, xp.clip(edge, -_FAR, _FAR)) for edge in (low, high))
    return low.astype("float64"), high.astype("float64")


class PositionSensitive(RegionPooling):
    """Base of layers that take each bin of a region from channels of its own (R-FCN, Dai et al. 2016).

    Bottoms: features (N, output_dim * group_size^2, H, W) and regions (R, 5). Top: (R, output_dim, group_size,
    group_size); bin (i, j) of output c reads channel (c * group_size + i) * group_size + j.
    """

    outputs: int
    group: int

    def set_groups(self, p: pb.PSROIPoolingParameter) -> None:
        """Set outputs, group and the spatial scale. Raises PrototxtError unless they are positive."""
        self.outputs, self.group = p.output_dim, p.group_size
        if min(self.outputs, self.group) < 1:
            self.bad_param(f"output_dim and group_size must be at least 1, got {self.outputs} and {self.group}")
        self.set_spatial_scale(p.spatial_scale)

    def grid(self, features: tuple[int, ...]) -> tuple[int, int, int]:
        channels = self.outputs * self.group**2
        if features[1] != channels:
            self.bad_shape(f"expected output_dim * group_size^2 = {how_many(channels, 'channel')}, got {features}")
        return self.outputs, self.group, self.group
