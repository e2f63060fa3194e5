"""The layer type DetectionLoss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.boxes import pair_overlaps
from dragon.bases.layer import register
from dragon.bases.loss import Loss
from dragon.bases.yolo import corners
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["DetectionLoss"]


@register()
class DetectionLoss(Loss):
    """The loss of YOLO v1 (Redmon et al. 2016), as caffe-yolo trains with it.

    Bottoms: a map (N, num_class + 5 * num_object, side * side) in any shape of as many values: scores of the classes,
    scores of the boxes, and x, y, w, h of each box; labels (N, 7 * side * side): difficult (not read), whether there is
    an object, its class (from 0), each (side, side), then x, y, w, h for each position, relative to the image. Top: the
    sum of the terms, divided by N: halves of squared errors for the classes and the box of positions with an object,
    and for the scores. Of the boxes of a position the one counts that overlaps the true one most, else the nearest; the
    target of its score is the overlap. caffe-yolo has the same gradients, but prints means over the objects as loss.
    """

    type = "DetectionLoss"
    settings = ("detection_loss_param",)
    host_only = "chooses boxes by their values"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_loss_param
        if min(p.side, p.num_class, p.num_object) < 1:
            self.bad_param("side, num_class and num_object must be at least 1")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        super().reshape(bottom, top)
        p = self.param.detection_loss_param
        n, places = bottom[0].shape[0], p.side**2
        for blob, each, what in ((bottom[0], p.num_class + 5 * p.num_object, "a map"), (bottom[1], 7, "labels")):
            if blob.count != n * each * places:
                self.bad_shape(f"expected {what} of {each} * {p.side}^2 values for each image, got shape {blob.shape}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_loss_param
        n, places, boxes = bottom[0].shape[0], p.side**2, p.num_object
        x = bottom[0].peek().reshape(n, p.num_class + 5 * boxes, places).astype(np.float64)
        label = bottom[1].peek().reshape(n, 7 * places).astype(np.float64)
        item, place = np.nonzero(label[:, places : 2 * places])
        classes = label[:, 2 * places : 3 * places][item, place]
        known = (classes >= 0) & (classes < p.num_class)
        if not known.all():  # NaN is not known either
            raise DataError(
                f"class {classes[~known][0]:g} is out of range: expected 0 to {p.num_class - 1}", layer=self.where
            )
        true = label[:, 3 * places :].reshape(n, places, 4)[item, place]
        gradient = np.zeros_like(x)
        scores = slice(p.num_class, p.num_class + boxes)
        gradient[:, scores] = p.noobject_scale * x[:, scores]
        loss = p.noobject_scale * (x[:, scores] ** 2).sum() / 2
        wrong = x[item, : p.num_class, place] - np.eye(p.num_class)[classes.astype(np.intp)]
        gradient[item, : p.num_class, place] = p.class_scale * wrong
        loss += p.class_scale * (wrong**2).sum() / 2
        offsets = x[item, p.num_class + boxes :, place].reshape(-1, boxes, 4)
        best, overlap = self._best(self._boxes(offsets, place), true)
        score = x[item, p.num_class + best, place]
        loss += (p.object_scale * (score - overlap) ** 2 - p.noobject_scale * score**2).sum() / 2
        gradient[item, p.num_class + best, place] = p.object_scale * (score - overlap)
        if p.constriant:
            true[:, :2] = true[:, :2] * p.side - self._corner(place)
        if p.sqrt:
            true[:, 2:] = np.sqrt(np.maximum(true[:, 2:], 0))
        wrong = offsets[np.arange(len(best)), best] - true
        loss += p.coord_scale * (wrong**2).sum() / 2
        for k in range(4):
            gradient[item, p.num_class + boxes + 4 * best + k, place] = p.coord_scale * wrong[:, k]
        self.gradient = gradient / max(1, n)
        top[0].data[...] = loss / max(1, n)

    def _corner(self, place: Array) -> Array:
        """Column and row (M, 2) of each position."""
        side = self.param.detection_loss_param.side
        return np.stack([place % side, place // side], axis=1)

    def _boxes(self, offsets: Array, place: Array) -> Array:
        """The boxes (M, boxes, 4) that the map holds, relative to the image."""
        p = self.param.detection_loss_param
        found = offsets.copy()
        if p.constriant:
            found[..., :2] = (found[..., :2] + self._corner(place)[:, None]) / p.side
        if p.sqrt:
            found[..., 2:] **= 2
        return found

    @staticmethod
    def _best(boxes: Array, true: Array) -> tuple[Array, Array]:
        """The box (M) of each position that counts, and its overlap (M) with the true one."""
        if not len(true):
            return np.zeros(0, np.intp), np.zeros(0)
        pairs = zip(corners(boxes), corners(true), strict=True)
        overlap = np.array([pair_overlaps(found, one[None])[:, 0] for found, one in pairs])
        distance = np.sqrt(((boxes - true[:, None]) ** 2).sum(axis=2))
        best = np.where(overlap.max(axis=1) > 0, overlap.argmax(axis=1), distance.argmin(axis=1))
        return best, overlap[np.arange(len(best)), best]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        self.check_propagation(propagate_down)
        if propagate_down[0]:
            bottom[0].diff[...] = (self.gradient * float(top[0].diff)).reshape(bottom[0].shape)
