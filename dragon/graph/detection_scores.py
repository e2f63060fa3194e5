"""Average precision of detections, from the tops of DetectionEvaluate over a whole test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dragon.memory.storage import Array

__all__ = ["AP_VERSIONS", "ClassScore", "DetectionScores", "average_precision", "mean_average_precision"]

AP_VERSIONS = ("11point", "MaxIntegral", "Integral")


@dataclass(frozen=True)
class ClassScore:
    """The average precision of a class, and how many boxes of it the labels have."""

    label: int
    boxes: int
    average_precision: float


class DetectionScores:
    """Collects the tops of a DetectionEvaluate batch by batch."""

    def __init__(self) -> None:
        self._boxes: dict[int, int] = {}
        self._found: list[NDArray[np.float64]] = []  # rows label, score, true

    def add(self, top: ArrayLike) -> None:
        """Add the top (1, 1, rows, 5) of one batch."""
        rows = np.asarray(top, np.float64).reshape(-1, 5)
        count = rows[:, 0] == -1
        for label, boxes in rows[count, 1:3].astype(int).tolist():
            self._boxes[label] = self._boxes.get(label, 0) + boxes
        found = rows[~count]
        self._found.append(found[found[:, 3] + found[:, 4] > 0, 1:4])

    def classes(self, version: str = "Integral") -> list[ClassScore]:
        """The average precision of each class that the layer counts, also of those that no label has: 0."""
        found = np.concatenate(self._found) if self._found else np.zeros((0, 3))
        result = []
        for label, boxes in sorted(self._boxes.items()):
            own = found[found[:, 0] == label]
            result.append(ClassScore(label, boxes, average_precision(own[:, 1], own[:, 2] > 0, boxes, version)))
        return result


def mean_average_precision(classes: list[ClassScore]) -> float:
    """The mean over the classes, as SSD's Caffe has it: a class that no label has counts as 0."""
    return sum(one.average_precision for one in classes) / max(1, len(classes))


def average_precision(scores: Array, true: Array, boxes: int, version: str = "Integral") -> float:
    """The average precision of the detections of one class.

    scores (K), true (K): of each detection, whether it is a true one. boxes: how many there are to be found. version:
    11point, the mean of the highest precision at a recall of at least 0, 0.1, ... 1 (VOC 2007); MaxIntegral, the area
    under the highest precision at each recall or a higher one (VOC 2010, ILSVRC); Integral, the area under the
    precision itself.
    """
    if not len(scores) or not boxes:
        return 0.0
    hits = np.cumsum(true[np.argsort(-scores, kind="stable")])
    recall = hits / boxes
    precision = hits / np.arange(1, len(hits) + 1)
    if version == "Integral":
        return float((precision * np.diff(recall, prepend=0)).sum())
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    if version == "MaxIntegral":
        return float((highest * np.diff(recall, prepend=0)).sum())
    reached = np.searchsorted(recall, np.arange(11) / 10)  # the first detection with such a recall
    return float(np.append(highest, 0.0)[reached].mean())
