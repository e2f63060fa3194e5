"""The layer type DetectionEvaluate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.box_matching import Truth, truth_of
from dragon.bases.boxes import pair_overlaps
from dragon.bases.layer import register
from dragon.bases.no_gradient import NoGradient
from dragon.counting import how_many
from dragon.errors import DataError, WeightsError
from dragon.files.detection_files import names_and_sizes, original_boxes
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["DetectionEvaluate"]

_MOST_CLASSES = 1_000_000  # each has a row in the top
_MOST_ITEMS = 1 << 31


@register()
class DetectionEvaluate(NoGradient):
    """Compares detections with labels, for the mean average precision (SSD; Everingham et al. 2010, section 4.2).

    Bottoms: the top (1, 1, K, 7) of DetectionOutput; labels (1, 1, G, 8) of AnnotatedData. Top: (1, 1, rows, 5). First
    a row for each class but the background: -1, class, number of labels, -1, -1. Then a row for each detection: item,
    class, score, 1 if it is true, 1 if it is false. A detection is true if it overlaps the label of its class that it
    overlaps most by `overlap_threshold`, and no detection of a higher score has that label. Without
    `evaluate_difficult_gt` difficult labels do not count, and a detection of one is neither.

    Tests compute average precisions from the top (`dragon.graph.detection_scores`). With `name_size_file`, whose lines
    "name height width" are those of the images in their order, overlaps are counted in pixels of the original images.
    The last image of a batch counts only if it has a detection or a label, or if no image of the batch has a detection.
    """

    type = "DetectionEvaluate"
    settings = ("detection_evaluate_param",)
    host_only = "compares boxes, whose number depends on values"
    scores_detections = True
    bottoms = (2, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_evaluate_param
        if p.num_classes < 1:
            self.bad_param("needs num_classes")
        if p.num_classes > _MOST_CLASSES:
            self.bad_param(f"num_classes must be at most {_MOST_CLASSES}, got {p.num_classes}")
        if not p.overlap_threshold > 0:
            self.bad_param(f"overlap_threshold must be positive, got {p.overlap_threshold:g}")
        self.counted = [label for label in range(p.num_classes) if label != p.background_label_id]
        self.seen = 0  # images
        self.sizes: list[tuple[int, int]] = []
        if p.name_size_file:
            with self.naming_errors():
                self.sizes = [size for _, size in names_and_sizes(self.find(p.name_size_file, "file"))]
                original_boxes(np.zeros(4), (1, 1), self._resize)

    @property
    def _resize(self) -> pb.ResizeParameter | None:
        p = self.param.detection_evaluate_param
        return p.resize_param if p.HasField("resize_param") else None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for i, what, width in ((0, "the top of DetectionOutput", 7), (1, "the labels of AnnotatedData", 8)):
            if bottom[i].ndim < 2 or bottom[i].shape[-1] != width:
                self.bad_shape(f"bottom {i} must be {what}, of shape (1, 1, boxes, {width}), got {bottom[i].shape}")
        if top[0].ndim != 4 or top[0].shape[3] != 5:
            top[0].reshape(1, 1, len(self.counted), 5)  # the number of detections is known only in forward

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.detection_evaluate_param
        found = np.asarray(bottom[0].peek(), np.float64).reshape(-1, 7)
        truth = truth_of(self, bottom[1].peek(), p.num_classes, p.background_label_id)
        odd = ~((np.abs(found[:, 0]) < _MOST_ITEMS) & (found[:, 0] == np.floor(found[:, 0])))
        if odd.any():
            raise DataError(f"a detection in item {found[odd][0, 0]:g}", layer=self.where)
        last = max([*found[:, 0].astype(int).tolist(), *truth], default=-1)
        found = found[(found[:, 0] != -1) & (found[:, 1] != -1)]
        wrong = ~np.isin(found[:, 1], self.counted)
        if wrong.any():
            raise DataError(
                f"a detection of class {found[wrong][0, 1]:g}: num_classes is {p.num_classes}, "
                f"background_label_id {p.background_label_id}",
                layer=self.where,
            )
        rows = [self._counts(truth)]
        found = found[np.lexsort((-found[:, 2], found[:, 1], found[:, 0]))]
        starts = np.flatnonzero((np.diff(found[:, :2], axis=0) != 0).any(axis=1)) + 1
        for group in np.split(found, starts) if len(found) else []:
            item, label = int(group[0, 0]), int(group[0, 1])
            labels = truth.get(item, _NOTHING)
            verdicts = self._verdicts(group[:, 3:], labels.only(labels.labels == label), item)
            rows.append(np.concatenate([group[:, :3], verdicts], axis=1))
        every = np.concatenate(rows)
        top[0].reshape(1, 1, len(every), 5)
        y = top[0].data
        y[0, 0] = xp_of(y).asarray(every)
        if self.sizes:
            self.seen = (self.seen + last + 1) % len(self.sizes)

    def _counts(self, truth: dict[int, Truth]) -> Array:
        """The rows of the classes."""
        p = self.param.detection_evaluate_param
        count = np.zeros(p.num_classes)
        for labels in truth.values():
            np.add.at(count, labels.labels[~labels.difficult | p.evaluate_difficult_gt], 1)
        rows = np.full((len(self.counted), 5), -1.0)
        rows[:, 1], rows[:, 2] = self.counted, count[self.counted]
        return rows

    def _verdicts(self, boxes: Array, truth: Truth, item: int) -> Array:
        """Whether each of the detections `boxes` (K, 4) of one class, highest score first, is true or false (K, 2)."""
        p = self.param.detection_evaluate_param
        false = np.tile([0.0, 1.0], (len(boxes), 1))
        if not len(truth.labels):
            return false
        labelled, pixel = truth.boxes, 0.0
        if self.sizes:
            size, pixel = self.sizes[(self.seen + item) % len(self.sizes)], 1.0
            boxes, labelled = (original_boxes(b, size, self._resize) for b in (boxes, labelled))
        overlap = pair_overlaps(boxes, labelled, pixel)
        nearest = overlap.argmax(axis=1)
        hit = overlap.max(axis=1) >= p.overlap_threshold
        if not p.evaluate_difficult_gt:
            skipped = hit & truth.difficult[nearest]
            false[skipped] = 0
            hit &= ~skipped
        first = np.flatnonzero(hit)[np.unique(nearest[hit], return_index=True)[1]]
        false[first] = [1.0, 0.0]
        return false

    def state(self) -> dict[str, int | float | bytes]:
        return {"seen": self.seen} if self.sizes else {}

    def load_state(self, state: dict[str, int | float | bytes]) -> None:
        seen = state.get("seen", 0)
        if not isinstance(seen, int) or not 0 <= seen < max(1, len(self.sizes)):
            raise WeightsError(
                f"the stored position {seen!r} is not one of {how_many(len(self.sizes), 'image')}", layer=self.where
            )
        self.seen = seen


_NOTHING = Truth(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.bool_))
