"""Base of layers that make regions, or labels and targets of regions, one image at a time (Faster R-CNN)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.anchors import RATIOS, SCALES, make_anchors
from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["RegionSource", "four", "give", "sample"]


def give(top: Blob, values: Array) -> None:
    """Put values into a top, which takes their shape."""
    top.reshape(values.shape)
    top.data[...] = values


def sample(random: np.random.Generator, indices: Array, most: int) -> Array:
    """`most` of the indices at random, without repetition; all of them, in order, if there are not more."""
    return indices if len(indices) <= most else random.choice(indices, most, replace=False)


def four(layer: Layer, values: Sequence[float], default: Sequence[float], name: str) -> Array:
    """Four values of a repeated setting, or its default. Raises PrototxtError for another number of them."""
    if len(values) not in (0, 4):
        layer.bad_param(f"{name} must have 4 values, got {len(values)}")
    return np.array(values or default, np.float64)


class RegionSource(Layer):
    """Runs on the host, since the number of regions depends on the values; no gradient passes."""

    stops_gradient = True
    host_only = "sorts and samples regions, whose number depends on the values"

    def can_propagate(self, index: int) -> bool:
        return False

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:  # scores and offsets that are learned by other losses
                blob.diff[...] = 0

    def set_anchors(self, p: pb.AnchorTargetParameter | pb.ProposalParameter) -> None:
        """Set `anchors` (A, 4) and `stride`. Raises PrototxtError for settings that make no anchors."""
        ratios, scales = list(p.ratio) or RATIOS, list(p.scale) or SCALES
        if min(p.feat_stride, p.base_size, *ratios, *scales) <= 0:
            self.bad_param("feat_stride, base_size, ratio and scale must be positive")
        self.anchors = make_anchors(p.base_size, ratios, scales)
        self.stride: int = p.feat_stride

    def check_map(self, shape: tuple[int, ...], index: int, each: int) -> None:
        """Raise ShapeError unless bottom `index` has `each` channels for each anchor, of one image."""
        channels = each * len(self.anchors)
        if len(shape) != 4 or shape[:2] != (1, channels):
            self.bad_shape(
                f"bottom {index}: expected one image with {how_many(each, 'channel')} for each of "
                f"{how_many(len(self.anchors), 'anchor')}, "
                f"(1, {channels}, H, W), got {shape}"
            )

    def check_boxes(self, blob: Blob, index: int) -> None:
        """Raise ShapeError unless bottom `index` holds rows of five."""
        shape = blob.shape
        if not shape or blob.count != shape[0] * 5:
            self.bad_shape(f"bottom {index}: expected rows of 5 values, got shape {shape}")

    def image_size(self, blob: Blob, index: int) -> tuple[float, float, float]:
        """Height, width and scale of the image, from `im_info`. Raises ShapeError, DataError."""
        if blob.count < 3:
            self.bad_shape(f"bottom {index}: expected height, width and scale of the image, got shape {blob.shape}")
        height, width, scale = (float(v) for v in blob.peek().reshape(-1)[:3])
        if not min(height, width, scale) > 0:
            raise DataError(f"the image has size {height:g} x {width:g} and scale {scale:g}", layer=self.where)
        return height, width, scale

    def true_boxes(self, blob: Blob) -> Array:
        """The rows x1, y1, x2, y2, class of `gt_boxes` (G, 5), in float64. Raises DataError for a box without area."""
        rows: Array = blob.peek().reshape(-1, 5).astype(np.float64)
        bad = ~(rows[:, 2:4] >= rows[:, :2]).all(axis=1)
        if bad.any():
            at = int(bad.argmax())
            raise DataError(f"true box {at} ends before it begins: {rows[at, :4].tolist()}", layer=self.where)
        return rows
