"""Base of the layers that read boxes from YOLO's maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.boxes import suppress
from dragon.bases.no_gradient import NoGradient
from dragon.bases.yolo import PLAIN, box_channels, corners, decode_map
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["YoloOutput"]


class YoloOutput(NoGradient):
    """Bottoms: maps (N, anchors * (values + classes), H, W). Top: (1, 1, K, 7), as DetectionOutput gives it.

    A row is item, label (from 1), score, xmin, ymin, xmax, ymax, by item and falling score; without any box one row for
    each item: its number and six times -1. Boxes that overlap one of a higher score by nms_threshold or more are
    dropped, whatever their classes. MobileNet-YOLO takes all images of a batch for one; here they are apart.
    """

    gives_boxes = True
    host_only = "sorts boxes and drops those that overlap, one after another"
    values: int = PLAIN
    anchors: int
    classes: int
    nms_threshold: float

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        channels = self.anchors * (self.values + self.classes)
        for i, blob in enumerate(bottom):
            shape = blob.shape
            if len(shape) != 4 or shape[1] != channels or shape[0] != bottom[0].shape[0]:
                self.bad_shape(
                    f"bottom {i}: expected a map ({bottom[0].shape[0]}, {channels}, H, W), with {self.values} + "
                    f"{how_many(self.classes, 'channel')} for each of {how_many(self.anchors, 'anchor')}, got {shape}"
                )
        if top[0].ndim != 4 or top[0].shape[3] != 7:
            top[0].reshape(1, 1, 1, 7)  # the number of boxes is known only in forward

    def sizes(self, index: int, height: int, width: int) -> Array:
        """Widths and heights (A, 2) of the anchors of bottom `index`, relative to the image."""
        raise NotImplementedError

    def scores(self, x: Array) -> Array:
        """Scores of the classes (N, A, C, H, W), 0 where they do not count, of a map (N, A, values + C, H, W)."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        n = bottom[0].shape[0]
        found: list[list[Array]] = [[] for _ in range(n)]  # rows of label, score and box, of each item
        for i, blob in enumerate(bottom):
            x = blob.peek().reshape(n, self.anchors, self.values + self.classes, *blob.shape[2:]).astype(np.float64)
            boxes = decode_map(box_channels(x, self.values), self.sizes(i, *x.shape[3:]))
            scores = self.scores(x)
            item, row, column, anchor, label = np.nonzero(scores.transpose(0, 3, 4, 1, 2))
            values = scores[item, anchor, label, row, column]
            rows = np.column_stack([label + 1, values, corners(boxes[item, anchor, row, column])])
            for k in range(n):
                found[k].append(rows[item == k])
        result = [np.zeros((0, 7))]
        for k, parts in enumerate(found):
            rows = np.concatenate(parts)
            # an overlap of the threshold itself drops a box, so at 0 only the first one stays
            least, most = (np.nextafter(self.nms_threshold, 0), -1) if self.nms_threshold > 0 else (0.0, 1)
            kept = rows[suppress(rows[:, 2:], rows[:, 1], float(least), most=most)]
            result.append(np.column_stack([np.full(len(kept), k), kept]))
        every = np.concatenate(result)
        if not len(every):
            every = np.array([[k, *[-1] * 6] for k in range(n)], np.float64).reshape(n, 7)
        top[0].reshape(1, 1, len(every), 7)
        top[0].data[...] = every
