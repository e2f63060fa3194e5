"""YOLO's maps: what their channels mean, true boxes, and the terms of its losses (Redmon et al. 2016 to 2018).

A map (N, A * (5 + C), H, W) holds for each of A anchors at each position x, y, w, h, the score of an object and C
scores of classes. Gaussian YOLO (Choi et al. 2019) has the deviation of each number of the box behind it, so 9 + C
channels. Boxes are centre, width and height, relative to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dragon.bases.boxes import pair_overlaps
from dragon.bases.loss import Loss
from dragon.counting import how_many
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = [
    "GAUSSIAN",
    "MAX_LOG",
    "PLAIN",
    "Truth",
    "YoloLoss",
    "box_channels",
    "corners",
    "cross_entropy",
    "decode_map",
    "logistic",
    "squared",
]

PLAIN = 5  # channels of an anchor before those of the classes
GAUSSIAN = 9  # the same with deviations
MAX_LOG = 50.0  # of the width and height of a box, so that a net that diverges gives a box and no overflow


class Truth(NamedTuple):
    """True boxes of a batch. item (M), label (M) from 0, box (M, 4), row (M) and column (M) of its centre."""

    item: Array
    label: Array
    box: Array
    row: Array
    column: Array


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    found: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return found


def cross_entropy(x: Array, target: Array | float) -> tuple[Array, Array]:
    """The cross-entropy of logistic(x) with the target, without its entropy where that is 0 or 1, and its gradient."""
    return np.maximum(x, 0) - x * target + np.log1p(np.exp(-np.abs(x))), logistic(x) - target


def squared(x: Array, target: Array | float) -> tuple[Array, Array]:
    """Half the squared difference of logistic(x) and the target, and its gradient."""
    p = logistic(x)
    return (p - target) ** 2 / 2, (p - target) * p * (1 - p)


def corners(boxes: Array) -> Array:
    """Centre, width and height (..., 4) as xmin, ymin, xmax, ymax."""
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def box_channels(x: Array, values: int) -> Array:
    """x, y, w and h of each anchor, of a map (N, A, values + C, H, W), which Gaussian YOLO's has deviations between."""
    return x[:, :, :8:2] if values == GAUSSIAN else x[:, :, :4]


def decode_map(x: Array, anchors: Array) -> Array:
    """The boxes (N, A, H, W, 4) of a map (N, A, 4 or more, H, W). anchors: widths and heights (A, 2), of the image."""
    height, width = x.shape[3:]
    cx = (logistic(x[:, :, 0]) + np.arange(width)) / width
    cy = (logistic(x[:, :, 1]) + np.arange(height)[:, None]) / height
    size = np.exp(np.minimum(x[:, :, 2:4], MAX_LOG)) * anchors[:, :, None, None]
    return np.stack([cx, cy, size[:, :, 0], size[:, :, 1]], axis=-1)


class YoloLoss(Loss):
    """Base of losses of maps. Bottoms: a map, and true boxes in one of two forms.

    MobileNet-YOLO's: (N, 1, T, 5) or (N, T * 5) with class (from 0), x, y, w, h; the rows of an image end with the
    first one of width 0. SSD's: (1, 1, M, 8) with item, class (from 1), a number, xmin, ymin, xmax, ymax, difficult;
    item -1 is no box. The gradient is computed in forward.
    """

    host_only = "matches boxes with true ones, whose number depends on the values"
    values: ClassVar[int] = PLAIN
    anchors: int
    classes: int
    class_of: NDArray[np.intp] | None = None  # of each label, where they are not the classes themselves

    def check_map(self, anchors: int, classes: int, biases: Sequence[float], least: int) -> None:
        """Set the numbers of anchors and classes. Raises PrototxtError for numbers that make no map."""
        self.anchors, self.classes = anchors, classes
        if min(anchors, classes) < 1:
            self.bad_param(f"num and num_class must be at least 1, got {anchors} and {classes}")
        if len(biases) < 2 * least or len(biases) % 2 or not all(value > 0 for value in biases):
            self.bad_param(
                f"needs biases, a positive width and height for each of {how_many(least, 'anchor')}, got {len(biases)}"
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, label = bottom[0].shape, bottom[1].shape
        channels = self.anchors * (self.values + self.classes)
        if len(shape) != 4 or shape[1] != channels:
            self.bad_shape(
                f"expected a map (N, {channels}, H, W), with {self.values} + "
                f"{how_many(self.classes, 'channel')} for each of {how_many(self.anchors, 'anchor')}, got {shape}"
            )
        if not self._of_ssd(label) and (label[:1] != shape[:1] or bottom[1].count % (5 * max(1, shape[0]))):
            self.bad_shape(f"bottom 1: expected true boxes (N, 1, T, 5) or (1, 1, M, 8), got {label}")
        top[0].reshape(())

    @staticmethod
    def _of_ssd(shape: tuple[int, ...]) -> bool:
        return len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == 8

    def map_of(self, bottom: Sequence[Blob]) -> Array:
        """Bottom 0 as (N, A, values + C, H, W), in float64."""
        n, _, height, width = bottom[0].shape
        shape = n, self.anchors, self.values + self.classes, height, width
        found: Array = bottom[0].peek().reshape(shape).astype(np.float64)
        return found

    def truth(self, bottom: Sequence[Blob]) -> Truth:
        """The true boxes. Raises DataError for a class, an item or a place that does not exist."""
        n, _, height, width = bottom[0].shape
        rows: Array = bottom[1].peek().astype(np.float64)
        item: Array
        if self._of_ssd(rows.shape):
            rows = rows.reshape(-1, 8)
            rows = rows[~(rows[:, 0] < 0)]  # NaN is no padding
            item, label, low, high = rows[:, 0], rows[:, 1] - 1, rows[:, 3:5], rows[:, 5:7]
            box = np.concatenate([(low + high) / 2, high - low], axis=1)
        else:
            rows = rows.reshape(n, rows.size // (5 * max(1, n)), 5)
            there = np.cumprod(rows[:, :, 3] != 0, axis=1) > 0
            item, row = np.nonzero(there)
            label, box = rows[item, row, 0], rows[item, row, 1:]
        labels = self.classes if self.class_of is None else len(self.class_of)
        for bad, what in (
            (
                ~((label >= 0) & (label < labels) & (label == np.floor(label))),
                f"a class out of range: expected 0 to {labels - 1}",
            ),
            (~((item < n) & (item == np.floor(item))), f"an item out of range: expected 0 to {n - 1}"),
            (
                ~((box[:, :2] >= 0) & (box[:, :2] <= 1) & (box[:, 2:] > 0)).all(axis=1),
                "no centre in the image, or no size",
            ),
        ):
            if bad.any():
                at = int(np.argmax(bad))
                raise DataError(
                    f"true box {at} has {what}; class {label[at]:g}, item {item[at]:g}, x, y, w, h "
                    f"{', '.join(f'{value:g}' for value in box[at])}",
                    layer=self.where,
                )
        place = np.minimum((box[:, :2] * [width, height]).astype(np.intp), [width - 1, height - 1])
        of_class = label.astype(np.intp) if self.class_of is None else self.class_of[label.astype(np.intp)]
        return Truth(item.astype(np.intp), of_class, box, place[:, 1], place[:, 0])

    @staticmethod
    def best_overlaps(boxes: Array, truth: Truth) -> Array:
        """The largest overlap (N, A, H, W) of each of `boxes` (N, A, H, W, 4) with a true box of its image."""
        best = np.zeros(boxes.shape[:-1])
        for item in np.unique(truth.item):
            true = corners(truth.box[truth.item == item])
            best[item] = pair_overlaps(corners(boxes[item].reshape(-1, 4)), true).max(axis=1).reshape(best.shape[1:])
        return best

    def finish(self, top: Sequence[Blob], loss: float, gradient: Array) -> None:
        """Set the loss, and keep its gradient with respect to the map; both are divided by the batch size."""
        n = max(1, gradient.shape[0])
        self.gradient = gradient / n
        top[0].data[...] = loss / n

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if propagate_down[0]:
            scale = float(top[0].diff)
            bottom[0].diff[...] = (self.gradient * scale).reshape(bottom[0].shape)
