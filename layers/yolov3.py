"""The layer type Yolov3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.box_losses import overlap_loss
from dragon.bases.boxes import pair_overlaps
from dragon.bases.layer import register
from dragon.bases.yolo import (
    MAX_LOG,
    Truth,
    YoloLoss,
    box_channels,
    corners,
    cross_entropy,
    decode_map,
    logistic,
    squared,
)
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["Yolov3"]


@register()
class Yolov3(YoloLoss):
    """The loss of YOLO v3 (Redmon & Farhadi 2018), as MobileNet-YOLO trains with it.

    Bottoms: a map (N, num * (5 + num_class), H, W), whose anchors are those of `biases` (pixels of an image of
    anchors_scale * W by anchors_scale * H) that `mask` names; true boxes as (N, 1, T, 5) or (1, 1, M, 8). Top: the sum
    of the terms, divided by N.

    A true box belongs to the anchor of its position whose shape is the most similar, if that is one of the mask's, and
    to those with an overlap beyond iou_thresh. Terms of its anchors: the box, all classes, the object. Other anchors
    have a term for no object, unless the box overlaps a true one by more than thresh. Terms are cross-entropies; with
    use_logic_gradient halves of squared errors. The box: MSE, or an overlap (`iou_loss`), whose gradient is clipped to
    max_delta. MobileNet-YOLO has the same gradients, but prints the sum of their squares as the loss.
    """

    type = "Yolov3"
    settings = ("yolov3_param",)
    unlimited = frozenset({"max_delta", "thresh", "iou_thresh"})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.yolov3_param
        mask = list(p.mask) or list(range(p.num))
        if len(mask) != p.num:
            self.bad_param(f"mask must name num anchors, {p.num}, got {len(mask)}")
        self.check_map(p.num, p.num_class, p.biases, max(mask, default=0) + 1)
        if p.anchors_scale < 1:
            self.bad_param("anchors_scale must be at least 1")
        self.sizes = np.array(p.biases, np.float64).reshape(-1, 2)
        self.mask = np.array(mask, np.intp)
        self.term = squared if p.use_logic_gradient else cross_entropy
        self.smoothing: float = p.label_smooth_eps

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.yolov3_param
        x, truth = self.map_of(bottom), self.truth(bottom)
        height, width = x.shape[3:]
        sizes = self.sizes / (np.array([width, height]) * p.anchors_scale)
        boxes = decode_map(box_channels(x, self.values), sizes[self.mask])
        gradient = np.zeros_like(x)
        which, anchor = self._assigned(truth, sizes)
        at: tuple[Array, ...] = (truth.item[which], anchor, truth.row[which], truth.column[which])
        target, weight = np.zeros(boxes.shape[:-1]), np.full(boxes.shape[:-1], p.noobject_scale)
        weight[self.best_overlaps(boxes, truth) > p.thresh] = 0
        target[at], weight[at] = 1, p.object_scale
        value, slope = self.term(x[:, :, self.values - 1], target)
        loss = (weight * value).sum()
        gradient[:, :, self.values - 1] = weight * slope
        loss += self._class_terms(x, gradient, at, truth.label[which])
        if not p.accumulate:  # the last true box of an anchor counts
            _, last = np.unique(np.stack(at)[:, ::-1], axis=1, return_index=True)
            last = len(which) - 1 - last
            which, at = which[last], tuple(index[last] for index in at)
        of_boxes, steps = self.box_terms(x, boxes, at, truth.box[which], sizes)
        for k, step in enumerate(steps.T):
            np.add.at(gradient[:, :, k], at, step)
        self.finish(top, float(loss) + of_boxes, gradient)

    def _assigned(self, truth: Truth, sizes: Array) -> tuple[Array, Array]:
        """Pairs of a true box and its anchor, as an index of the mask."""
        shapes = pair_overlaps(_at_origin(truth.box[:, 2:]), _at_origin(sizes))
        if not len(shapes):
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        belongs = shapes > self.param.yolov3_param.iou_thresh
        belongs[np.arange(len(shapes)), shapes.argmax(axis=1)] = True
        which, anchor = np.nonzero(belongs[:, self.mask])
        return which, anchor

    def _class_terms(self, x: Array, gradient: Array, at: tuple[Array, ...], labels: Array) -> float:
        """Write the gradients of the scores of classes; the sum of their terms."""
        p = self.param.yolov3_param
        item, anchor, row, column = at
        target = np.zeros((*x.shape[:2], self.classes, *x.shape[3:]))
        target[item, anchor, labels, row, column] = 1
        item, anchor, row, column = np.unique(np.stack(at), axis=1) if len(item) else at
        true = target[item, anchor, :, row, column]
        smooth = true if p.use_focal_loss else true * (1 - self.smoothing) + 0.5 * self.smoothing
        scores = x[item, anchor, self.values :, row, column]
        value, slope = self.term(scores, smooth)
        weight: Array | float = p.class_scale
        if p.use_focal_loss:
            right = (logistic(scores) * true).max(axis=1, keepdims=True) + 1e-15
            weight = weight * 0.5 * (1 - right) * (1 - right - 2 * right * np.log(right))
        gradient[item, anchor, self.values :, row, column] = weight * slope
        return float((weight * value).sum())

    def goal(self, at: tuple[Array, ...], true: Array, sizes: Array, width: int, height: int) -> Array:
        """x, y, w and h (M, 4) of the map, x and y behind the sigmoid, that give the true boxes (M, 4)."""
        _, anchor, row, column = at
        centre = true[:, :2] * [width, height] - np.stack([column, row], axis=1)
        return np.concatenate([centre, np.log(true[:, 2:] / sizes[self.mask[anchor]])], axis=1)

    def box_terms(
        self, x: Array, boxes: Array, at: tuple[Array, ...], true: Array, sizes: Array
    ) -> tuple[float, Array]:
        """The sum of the terms of the boxes (M), and the gradients (M, 4) of x, y, w and h."""
        p = self.param.yolov3_param
        item, anchor, row, column = at
        found, offsets = boxes[at], x[item, anchor, :4, row, column]
        places = np.array(x.shape[:2:-1])  # W, H
        if p.iou_loss == pb.Yolov3Parameter.MSE:
            scale = (p.coord_scale * (2 - true[:, 2:].prod(axis=1)))[:, None]
            goal = self.goal(at, true, sizes, *x.shape[:2:-1])
            value, slope = self.term(offsets[:, :2], goal[:, :2])
            wrong = offsets[:, 2:] - goal[:, 2:]
            loss = (scale * value).sum() + (scale * wrong**2).sum() / 2
            steps = scale * np.concatenate([slope, wrong], axis=1)
        else:
            value, slope = overlap_loss(found, true, p.iou_loss)
            middle = logistic(offsets[:, :2])
            chain = np.concatenate([middle * (1 - middle) / places, found[:, 2:] * (offsets[:, 2:] < MAX_LOG)], axis=1)
            loss = p.iou_normalizer * value.sum()
            steps = np.clip(p.iou_normalizer * slope * chain, -p.max_delta, p.max_delta)
        return float(loss), steps


def _at_origin(sizes: Array) -> Array:
    """Boxes of these widths and heights (M, 2) around the origin, as corners."""
    return corners(np.concatenate([np.zeros_like(sizes), sizes], axis=1))
