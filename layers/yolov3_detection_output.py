"""The layer type Yolov3DetectionOutput."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.yolo import GAUSSIAN, PLAIN, logistic
from dragon.bases.yolo_output import YoloOutput
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["Yolov3DetectionOutput"]


@register()
class Yolov3DetectionOutput(YoloOutput):
    """Boxes from the maps of YOLO v3 (Redmon & Farhadi 2018), as MobileNet-YOLO reads them.

    Bottoms: mask_group_num maps (N, num_box * (5 + num_classes), H, W). Top: (1, 1, K, 7) with item, label (from 1),
    score, xmin, ymin, xmax, ymax: a row for each class whose score, times that of an object, exceeds
    confidence_threshold.

    With gaussian_box (Choi et al. 2019) a map has 9 + num_classes channels for each anchor, with a deviation behind
    each number of the box. The score of an object is then multiplied by 1 - the mean of the four deviations.
    """

    type = "Yolov3DetectionOutput"
    settings = ("yolov3_detection_output_param",)
    unlimited = frozenset({"confidence_threshold", "nms_threshold"})
    bottoms = (1, None)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.yolov3_detection_output_param
        self.anchors, self.classes, self.nms_threshold = p.num_box, p.num_classes, p.nms_threshold
        self.values = GAUSSIAN if p.gaussian_box else PLAIN
        if len(bottom) != p.mask_group_num:
            self.bad_param(f"takes mask_group_num bottoms, {p.mask_group_num}, got {len(bottom)}")
        if min(self.anchors, self.classes) < 1 or len(p.mask) != p.num_box * len(bottom):
            self.bad_param(f"mask must name num_box anchors, {p.num_box}, for each bottom, got {len(p.mask)}")
        if len(p.anchors_scale) != len(bottom) or 0 in p.anchors_scale:
            self.bad_param(
                f"needs a positive anchors_scale for each of {how_many(len(bottom), 'bottom')}, got "
                f"{len(p.anchors_scale)}"
            )
        if len(p.biases) % 2 or len(p.biases) <= 2 * max(p.mask):
            self.bad_param(
                f"needs biases, a width and height for each of {how_many(max(p.mask) + 1, 'anchor')}, got "
                f"{len(p.biases)}"
            )
        self.least: float = p.confidence_threshold
        self.biases = np.array(p.biases, np.float64).reshape(-1, 2)[list(p.mask)].reshape(len(bottom), -1, 2)

    def sizes(self, index: int, height: int, width: int) -> Array:
        scale = self.param.yolov3_detection_output_param.anchors_scale[index]
        found: Array = self.biases[index] / (np.array([width, height]) * scale)
        return found

    def scores(self, x: Array) -> Array:
        scores = logistic(x[:, :, self.values :]) * logistic(x[:, :, self.values - 1 : self.values])
        if self.values == GAUSSIAN:
            scores *= 1 - logistic(x[:, :, 1:8:2]).mean(axis=2, keepdims=True)
        found: Array = np.where(scores > self.least, scores, 0)
        return found
