"""The layer type GaussianYolov3."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.yolo import GAUSSIAN, logistic
from dragon.layers.yolov3 import Yolov3
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["GaussianYolov3"]

_WIDER = 0.3  # added to deviations in the height of the density, so that it has a limit
_LEAST = 1e-9  # added to densities


@register()
class GaussianYolov3(Yolov3):
    """The loss of Gaussian YOLO v3 (Choi et al. 2019), as MobileNet-YOLO trains with it.

    As Yolov3, with a map (N, num * (9 + num_class), H, W) whose boxes have a deviation behind each of x, y, w and h.
    The terms of a box are -log(n + 1e-9) / 2 for each of them, weighted by iou_normalizer, coord_scale and the box's
    size; n = exp(-z^2 / 2) / (sqrt(2 pi) (d + 0.3)) is the density of the true value, d the sigmoid of the deviation's
    channel, and z the distance of the true value in units of d. Their gradient, that of the loss, is clipped to
    max_delta; the fork leaves out the factor of the sigmoids. `iou_loss` and `label_smooth_eps` are errors.
    """

    type = "GaussianYolov3"
    values = GAUSSIAN

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for name in ("iou_loss", "label_smooth_eps"):
            if self.param.yolov3_param.HasField(name):
                self.bad_param(f"has no {name}, which Yolov3 has: leave it out")
        super().setup(bottom, top)
        self.smoothing = 0.0

    def box_terms(
        self, x: Array, boxes: Array, at: tuple[Array, ...], true: Array, sizes: Array
    ) -> tuple[float, Array]:
        """The sum of the terms of the boxes (M), and the gradients (M, 8) of x, its deviation, y, ..."""
        p = self.param.yolov3_param
        item, anchor, row, column = at
        channels = x[item, anchor, :8, row, column]
        deviation, mean = logistic(channels[:, 1::2]), channels[:, ::2].copy()
        mean[:, :2] = logistic(mean[:, :2])
        z = (self.goal(at, true, sizes, *x.shape[:2:-1]) - mean) / deviation
        density = np.exp(-(z**2) / 2) / (math.sqrt(2 * math.pi) * (deviation + _WIDER))
        scale = p.iou_normalizer * p.coord_scale * (2 - true[:, 2:].prod(axis=1, keepdims=True)) / 2
        slope = -scale * density / (density + _LEAST)
        steps = np.empty_like(channels)
        steps[:, ::2] = slope * z / deviation
        steps[:, :4:2] *= mean[:, :2] * (1 - mean[:, :2])
        steps[:, 1::2] = slope * (z**2 / deviation - 1 / (deviation + _WIDER)) * deviation * (1 - deviation)
        loss = -(scale * np.log(density + _LEAST)).sum()
        return float(loss), np.clip(steps, -p.max_delta, p.max_delta)
