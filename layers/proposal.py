"""The layer type Proposal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.anchors import anchor_grid, clip_boxes, decode_offsets, suppress_pixels
from dragon.bases.layer import register
from dragon.bases.region_source import RegionSource, give
from dragon.memory.blob import Blob

__all__ = ["Proposal"]


@register()
class Proposal(RegionSource):
    """Regions of an image from the scores and offsets of anchors (Faster R-CNN, Ren et al. 2015).

    Bottoms: probabilities (1, 2 * A, H, W), of which the second half are those of an object; offsets (1, 4 * A, H, W);
    im_info (height, width, scale). Tops: regions (R, 5) with 0, x1, y1, x2, y2 in pixels, of falling score, and
    optionally the scores (R, 1). Anchors are moved by their offsets and clipped to the image; those with a side below
    min_size are dropped, and of those that overlap by more than nms_thresh all but the best. Where nothing is left, the
    whole image is the one region, with score 0. As a Python layer, rpn.proposal_layer.ProposalLayer of py-faster-rcnn.
    """

    type = "Proposal"
    settings = ("proposal_param",)
    unlimited = frozenset({"nms_thresh"})
    bottoms = (3, 3)
    tops = (1, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.proposal_param
        self.set_anchors(p)
        if p.nms_thresh < 0:
            self.bad_param(f"nms_thresh must not be negative, got {p.nms_thresh:g}")
        self.rows = 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, offsets = bottom[0].shape, bottom[1].shape
        self.check_map(scores, 0, 2)
        self.check_map(offsets, 1, 4)
        if scores[2:] != offsets[2:]:
            self.bad_shape(f"bottoms 0 and 1 must have one height and width, got {scores} and {offsets}")
        if not self.rows:  # the number of regions is known only in forward
            anchors = len(self.anchors) * scores[2] * scores[3]
            self.rows = min(anchors, self.param.proposal_param.post_nms_topn or anchors)
        for blob, columns in zip(top, (5, 1), strict=False):
            blob.reshape(self.rows, columns)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.proposal_param
        height, width, scale = self.image_size(bottom[2], 2)
        count, (rows, columns) = len(self.anchors), bottom[0].shape[2:]
        scores = bottom[0].peek()[0, count:].transpose(1, 2, 0).reshape(-1).astype(np.float64)
        offsets = bottom[1].peek()[0].transpose(1, 2, 0).reshape(-1, 4).astype(np.float64)
        boxes = decode_offsets(anchor_grid(self.anchors, rows, columns, self.stride), offsets)
        boxes = clip_boxes(boxes, height, width)
        large = (boxes[:, 2:] - boxes[:, :2] + 1 >= p.min_size * scale).all(axis=1)
        boxes, scores = boxes[large], scores[large]
        kept = suppress_pixels(boxes, scores, p.nms_thresh, p.pre_nms_topn or -1, p.post_nms_topn or -1)
        boxes, scores = boxes[kept], scores[kept]
        if not len(boxes):
            boxes, scores = np.array([[0, 0, width - 1, height - 1]]), np.zeros(1)
        self.rows = len(boxes)
        give(top[0], np.concatenate([np.zeros((self.rows, 1)), boxes], axis=1))
        if len(top) > 1:
            give(top[1], scores[:, None])
