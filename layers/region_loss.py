"""The layer type RegionLoss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.boxes import pair_overlaps
from dragon.bases.class_files import ClassTree, read_class_map, read_class_tree
from dragon.bases.layer import TRAIN, register
from dragon.bases.stored_state import stored
from dragon.bases.yolo import Truth, YoloLoss, corners, cross_entropy, decode_map, squared
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["RegionLoss"]

WARM_UP = 12800  # images during which all anchors are drawn to their own shape


@register()
class RegionLoss(YoloLoss):
    """The loss of YOLO v2 (Redmon & Farhadi 2017), as MobileNet-YOLO trains with it.

    Bottoms: a map (N, num * (5 + num_class), H, W), whose anchors are `biases`, in positions of the map; true boxes as
    (N, 1, T, 5) or (1, 1, M, 8). Top: the sum of the terms, divided by N.

    A true box belongs to the anchor of its position whose shape (with bias_match; else that of its box) is the most
    similar; the last of several counts. Terms of its anchor are halves of squared errors for x, y, w, h and for the
    object, whose target is the overlap of the box with `rescore`, 1 without; and the softmax loss of the classes. Other
    anchors have a term for no object, unless their box overlaps a true one by more than thresh, and for the first 12800
    images one that draws them to the middle of their position. MobileNet-YOLO has the same gradients, but prints the
    sum of their squares as the loss.

    With `softmax: 0` the classes have a cross-entropy of a sigmoid each, as in Darknet. `softmax_tree` names a file of
    Darknet with lines "name parent": siblings have a softmax, and a true class counts with those above it.
    `class_map` names a file whose lines are the classes of the labels 0, 1, ... (of SSD's boxes 1, 2, ...).
    """

    type = "RegionLoss"
    settings = ("region_loss_param",)
    unlimited = frozenset({"thresh"})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.region_loss_param
        if p.coords != 4:
            self.bad_param(f"coords must be 4, got {p.coords}")
        self.check_map(p.num, p.num_class, p.biases, p.num)
        self.tree: ClassTree | None = None
        with self.naming_errors():
            if p.softmax_tree:
                self.tree = read_class_tree(self.find(p.softmax_tree, "tree of classes"), p.num_class)
            if p.class_map:
                self.class_of = read_class_map(self.find(p.class_map, "map of classes"), p.num_class)
        self.sizes = np.array(p.biases, np.float64).reshape(-1, 2)[: p.num]
        self.seen = 0

    def state(self) -> dict[str, int | float | bytes]:
        return {"seen": self.seen}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        self.seen = int(stored(self, state, "seen"))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.region_loss_param
        x, truth = self.map_of(bottom), self.truth(bottom)
        sizes = self.sizes / np.array(x.shape[:2:-1])
        boxes = decode_map(x, sizes)
        which, anchor = self._assigned(truth, boxes, sizes)
        at = (truth.item[which], anchor, truth.row[which], truth.column[which])
        gradient, loss = np.zeros_like(x), 0.0
        if self.seen < WARM_UP:
            loss += self._draw(x, gradient, at)
        self.seen += len(x) * (self.phase == TRAIN)
        true = truth.box[which]
        pairs = zip(corners(boxes[at])[:, None], corners(true)[:, None], strict=True)
        overlap = np.array([pair_overlaps(a, b)[0, 0] for a, b in pairs])
        target, weight = np.zeros(boxes.shape[:-1]), np.full(boxes.shape[:-1], p.noobject_scale)
        weight[self.best_overlaps(boxes, truth) > p.thresh] = 0
        target[at], weight[at] = (overlap if p.rescore else 1), p.object_scale
        value, slope = squared(x[:, :, 4], target)
        gradient[:, :, 4] = weight * slope
        loss += (weight * value).sum()
        item, anchor, row, column = at
        # the box
        offsets = x[item, anchor, :4, row, column]
        scale = np.full((len(true), 1), p.coord_scale)
        if not p.rescore:
            scale = scale * (2 - true[:, 2:].prod(axis=1, keepdims=True))
        value, slope = squared(offsets[:, :2], true[:, :2] * x.shape[:2:-1] - np.stack([column, row], axis=1))
        wrong = offsets[:, 2:] - np.log(true[:, 2:] / sizes[anchor])
        loss += (scale * value).sum() + (scale * wrong**2).sum() / 2
        gradient[item, anchor, :4, row, column] = scale * np.concatenate([slope, wrong], axis=1)
        value, slope = self._classes(x[item, anchor, 5:, row, column], truth.label[which])
        loss += p.class_scale * value.sum()
        gradient[item, anchor, 5:, row, column] = p.class_scale * slope
        self.finish(top, float(loss), gradient)

    def _classes(self, scores: Array, label: Array) -> tuple[Array, Array]:
        """The losses of true classes (M) and their gradients (M, C), from scores (M, C)."""
        if self.tree is not None:
            return self.tree.losses(scores, label)
        right = np.eye(self.classes)[label]
        if not self.param.region_loss_param.softmax:
            value, slope = cross_entropy(scores, right)
            return value.sum(axis=1), slope
        scores = scores - scores.max(axis=1, keepdims=True, initial=-np.inf)
        total = np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return ((total - scores) * right).sum(axis=1), np.exp(scores - total) - right

    def _assigned(self, truth: Truth, boxes: Array, sizes: Array) -> tuple[Array, Array]:
        """Pairs of a true box and its anchor; of several true boxes of an anchor the last one."""
        count = len(truth.item)
        shapes = np.broadcast_to(sizes, (count, *sizes.shape))
        if not self.param.region_loss_param.bias_match:
            shapes = boxes[truth.item, :, truth.row, truth.column, 2:]
        shared = np.minimum(shapes, truth.box[:, None, 2:]).prod(axis=2)
        union = shapes.prod(axis=2) + truth.box[:, None, 2:].prod(axis=2) - shared
        anchor = (shared / union).argmax(axis=1)
        place = np.stack([truth.item, anchor, truth.row, truth.column])
        _, last = np.unique(place[:, ::-1], axis=1, return_index=True) if count else (None, np.zeros(0, np.intp))
        which = count - 1 - last
        return which, anchor[which]

    @staticmethod
    def _draw(x: Array, gradient: Array, at: tuple[Array, ...]) -> float:
        """Write the gradients that draw anchors without a true box to the middle and to their shape; their terms."""
        free = np.ones((*x.shape[:2], 1, *x.shape[3:]))
        item, anchor, row, column = at
        free[item, anchor, :, row, column] = 0
        weight = 0.01 * free
        value, slope = squared(x[:, :, :2], 0.5)
        gradient[:, :, :2] = weight * slope
        gradient[:, :, 2:4] = weight * x[:, :, 2:4]
        return float((weight * value).sum() + (weight * x[:, :, 2:4] ** 2).sum() / 2)
