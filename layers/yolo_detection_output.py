"""The layer type YoloDetectionOutput."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.yolo import logistic
from dragon.bases.yolo_output import YoloOutput
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["YoloDetectionOutput"]


@register()
class YoloDetectionOutput(YoloOutput):
    """Boxes from the maps of YOLO v2 (Redmon & Farhadi 2017), as MobileNet-YOLO reads them.

    Bottoms: one or two maps (N, num_box * (5 + num_classes), H, W). Top: (1, 1, K, 7) with item, label (from 1), score,
    xmin, ymin, xmax, ymax. A box has the class of the highest softmax; its score is that times the one of an object.
    """

    type = "YoloDetectionOutput"
    settings = ("yolo_detection_output_param",)
    unlimited = frozenset({"confidence_threshold", "nms_threshold"})
    bottoms = (1, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.yolo_detection_output_param
        self.anchors, self.classes, self.nms_threshold = p.num_box, p.num_classes, p.nms_threshold
        if p.coords != 4:
            self.bad_param(f"coords must be 4, got {p.coords}")
        if min(self.anchors, self.classes) < 1 or len(p.biases) != 2 * p.num_box:
            self.bad_param(
                f"needs biases, a width and height for each of {how_many(p.num_box, 'box')}, got {len(p.biases)}"
            )
        self.least: float = p.confidence_threshold
        self.biases = np.array(p.biases, np.float64).reshape(-1, 2)

    def sizes(self, index: int, height: int, width: int) -> Array:
        found: Array = self.biases / np.array([width, height])
        return found

    def scores(self, x: Array) -> Array:
        scores = np.exp(x[:, :, 5:] - x[:, :, 5:].max(axis=2, keepdims=True))
        scores *= logistic(x[:, :, 4:5]) / scores.sum(axis=2, keepdims=True)
        best = scores.argmax(axis=2)[:, :, None] == np.arange(self.classes)[:, None, None]
        found: Array = np.where(best & (scores >= self.least), scores, 0)
        return found
