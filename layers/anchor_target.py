"""The layer type AnchorTarget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.anchors import anchor_grid, encode_offsets, overlaps_of_pixels
from dragon.bases.layer import register
from dragon.bases.region_source import RegionSource, four, give, sample
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["AnchorTarget"]


@register()
class AnchorTarget(RegionSource):
    """Labels and regression targets of the anchors of a region proposal network (Faster R-CNN, Ren et al. 2015).

    Bottoms: a map (1, C, H, W) of which the size counts, gt_boxes (G, 5) with x1, y1, x2, y2 in pixels and a class,
    im_info (height, width, scale), and optionally the image, which is not read. Tops: labels (1, 1, A * H, W), which
    are 1, 0 or -1 (does not count); targets, inside weights and outside weights (1, 4 * A, H, W), for SmoothL1Loss.

    An anchor within the image is positive if it has the largest overlap with a true box, or one of positive_overlap;
    negative if all its overlaps are below negative_overlap. At random, batch_size of them get a label. Outside weights
    are 1 / number of labels. As a Python layer, rpn.anchor_target_layer.AnchorTargetLayer of py-faster-rcnn.
    """

    type = "AnchorTarget"
    settings = ("anchor_target_param",)
    unlimited = frozenset({"allowed_border", "positive_overlap", "negative_overlap"})
    bottoms = (3, 4)
    tops = (4, 4)
    size_bottoms = frozenset({0, 3})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.anchor_target_param
        self.set_anchors(p)
        if p.batch_size < 1:
            self.bad_param("batch_size must be at least 1")
        if not 0 <= p.fg_fraction <= 1:
            self.bad_param(f"fg_fraction must lie in [0, 1], got {p.fg_fraction:g}")
        if p.positive_weight >= 1 or p.positive_weight == 0:
            self.bad_param(f"positive_weight must lie in (0, 1), or below 0, got {p.positive_weight:g}")
        self.inside = four(self, p.inside_weight, (1, 1, 1, 1), "inside_weight")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4 or shape[0] != 1:
            self.bad_shape(f"expected a map of one image, (1, C, H, W), got {shape}")
        self.check_boxes(bottom[1], 1)
        count, (height, width) = len(self.anchors), shape[2:]
        top[0].reshape(1, 1, count * height, width)
        for blob in top[1:]:
            blob.reshape(1, count * 4, height, width)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        height, width = bottom[0].shape[2:]
        image_height, image_width, _ = self.image_size(bottom[2], 2)
        true = self.true_boxes(bottom[1])
        border = self.param.anchor_target_param.allowed_border
        anchors = anchor_grid(self.anchors, height, width, self.stride)
        inside = np.flatnonzero(
            (anchors[:, :2] >= -border).all(axis=1)
            & (anchors[:, 2:] < np.array([image_width, image_height]) + border).all(axis=1)
        )
        overlaps = overlaps_of_pixels(anchors[inside], true[:, :4])
        labels = np.full(len(anchors), -1.0)
        labels[inside] = self._labels(overlaps)
        rows = np.zeros((3, len(anchors), 4))  # targets, inside weights, outside weights
        if len(true) and len(inside):
            rows[0, inside] = encode_offsets(anchors[inside], true[overlaps.argmax(axis=1), :4])
        rows[1, labels == 1] = self.inside
        for label, weight in zip((1, 0), self._weights(labels), strict=True):
            rows[2, labels == label] = weight
        count = len(self.anchors)
        give(top[0], labels.reshape(height, width, count).transpose(2, 0, 1).reshape(1, 1, count * height, width))
        for blob, values in zip(top[1:], rows, strict=True):
            give(blob, values.reshape(height, width, count * 4).transpose(2, 0, 1)[None])

    def _labels(self, overlaps: Array) -> Array:
        """1, 0 or -1 for each anchor, given its overlap with each true box."""
        p = self.param.anchor_target_param
        labels = np.full(len(overlaps), -1.0)
        best = overlaps.max(axis=1, initial=0)
        negative = best < p.negative_overlap
        if not p.clobber_positives:
            labels[negative] = 0
        # the largest overlap is compared, not its place: all anchors that reach it are positive
        most = overlaps.max(axis=0, initial=0)
        labels[((overlaps == most) & (most > 0)).any(axis=1)] = 1
        labels[best >= p.positive_overlap] = 1
        if p.clobber_positives:
            labels[negative] = 0
        random = self.rng.generator()
        for label, most_of in ((1, int(p.fg_fraction * p.batch_size)), (0, p.batch_size)):
            found = np.flatnonzero(labels == label)
            chosen = sample(random, found, most_of if label else most_of - int((labels == 1).sum()))
            labels[found] = -1
            labels[chosen] = label
        return labels

    def _weights(self, labels: Array) -> tuple[float, float]:
        """The outside weights of positive and of negative anchors."""
        share = self.param.anchor_target_param.positive_weight
        if share < 0:
            each = 1 / max(1, (labels >= 0).sum())
            return each, each
        return share / max(1, (labels == 1).sum()), (1 - share) / max(1, (labels == 0).sum())
