"""The layer type RCNNDetectionOutput."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.anchors import clip_boxes, decode_offsets, suppress_pixels
from dragon.bases.layer import register
from dragon.bases.region_source import RegionSource, four, give
from dragon.errors import DataError
from dragon.memory.blob import Blob

__all__ = ["RCNNDetectionOutput"]


@register()
class RCNNDetectionOutput(RegionSource):
    """Boxes of an image from its regions, their classes and offsets, as py-faster-rcnn finds them (Ren et al. 2015).

    Bottoms: regions (R, 5), probabilities (R, C) with the background as class 0, offsets (R, 4 * C), or (R, 8) for all
    classes together as in R-FCN, im_info (height, width, scale). Top: (1, 1, K, 7) with item, label, score, xmin, ymin,
    xmax, ymax, by label and falling score; corners are fractions of the image. Without any box, one row: 0 and six
    times -1.
    """

    type = "RCNNDetectionOutput"
    settings = ("rcnn_detection_output_param",)
    unlimited = frozenset({"confidence_threshold", "nms_threshold"})
    gives_boxes = True
    bottoms = (4, 4)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.rcnn_detection_output_param
        if p.nms_threshold < 0:
            self.bad_param(f"nms_threshold must not be negative, got {p.nms_threshold:g}")
        self.mean = four(self, p.bbox_mean, (0, 0, 0, 0), "bbox_mean")
        self.std = four(self, p.bbox_std, (1, 1, 1, 1), "bbox_std")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_boxes(bottom[0], 0)
        regions = bottom[0].shape[0]
        self.classes = math.prod(bottom[1].shape[1:]) if bottom[1].shape[:1] == (regions,) else 0
        if bottom[1].count != regions * self.classes or self.classes < 2:
            self.bad_shape(f"bottom 1: expected probabilities ({regions}, C), got {bottom[1].shape}")
        if bottom[2].count not in (regions * 4 * self.classes, regions * 8):
            self.bad_shape(
                f"bottom 2: expected offsets {(regions, 4 * self.classes)} or {(regions, 8)}, got {bottom[2].shape}"
            )
        if top[0].ndim != 4 or top[0].shape[3] != 7:
            top[0].reshape(1, 1, 1, 7)  # the number of boxes is known only in forward

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.rcnn_detection_output_param
        height, width, _ = self.image_size(bottom[3], 3)
        rois = bottom[0].peek().reshape(-1, 5).astype(np.float64)
        if rois[:, 0].any():
            raise DataError("takes the regions of one image, 0; regions of further ones came", layer=self.where)
        scores = bottom[1].peek().reshape(len(rois), self.classes).astype(np.float64)
        each = bottom[2].count // (4 * max(1, len(rois)))  # boxes of a region
        offsets = bottom[2].peek().reshape(len(rois), each, 4).astype(np.float64) * self.std + self.mean
        boxes = clip_boxes(decode_offsets(rois[:, 1:], offsets), height, width)
        rows = [np.zeros((0, 7))]
        for label in range(1, self.classes):
            likely = np.flatnonzero(scores[:, label] > p.confidence_threshold)
            own = boxes[likely, label if each == self.classes else 1] if len(rois) else np.zeros((0, 4))
            kept = suppress_pixels(own, scores[likely, label], p.nms_threshold)
            corners = (own[kept] + [0, 0, 1, 1]) / [width, height, width, height]
            lead = np.column_stack([np.zeros(len(kept)), np.full(len(kept), label), scores[likely[kept], label]])
            rows.append(np.concatenate([lead, np.minimum(corners, 1)], axis=1))
        found = np.concatenate(rows)
        if -1 < p.keep_top_k < len(found):
            best = np.argsort(-found[:, 2], kind="stable")[: p.keep_top_k]
            found = found[np.sort(best)]
        if not len(found):
            found = np.array([[0.0, -1, -1, -1, -1, -1, -1]])
        give(top[0], found[None, None])
