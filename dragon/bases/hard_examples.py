"""Choice of the default boxes that a detector learns from: hard negatives and hard examples.

Sources: SSD (Liu et al. 2016, section 2.2, "hard negative mining") and online hard example mining (Shrivastava et al.
2016), as the Caffe of SSD has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dragon.bases.box_matching import UNMATCHED
from dragon.bases.boxes import suppress
from dragon.data.detection.geometry import areas
from dragon.memory.storage import Array

__all__ = ["Suppression", "hard_examples", "hard_negatives"]

_SMALLEST = 1e-5  # boxes of a smaller area are no examples where overlapping ones are dropped


@dataclass(frozen=True)
class Suppression:
    """Of examples that overlap by more than `threshold` only the hardest counts. top_k: candidates at most, -1: all."""

    threshold: float
    top_k: int


def hard_negatives(
    match: NDArray[np.int64], most: Array, loss: Array, ratio: float, overlap: float, nms: Suppression | None,
    boxes: Array,
) -> NDArray[np.intp]:  # fmt: skip
    """Indices of the boxes without a match that are to be learned as background: those with the largest loss.

    match, most: as `match_boxes` gives them. At most `ratio` times as many as there are matches; a box that overlaps a
    labelled one by `overlap` or more is left out. boxes: those that `nms` compares.
    """
    positive = int((match > UNMATCHED).sum())
    ratio = min(ratio, len(match))  # it may be infinite, and more than all cannot be chosen
    count = int(np.float32(positive) * np.float32(ratio))
    eligible = np.flatnonzero((match == UNMATCHED) & (most < overlap))
    return np.sort(_hardest(eligible, loss, count, nms, boxes))


def hard_examples(
    match: NDArray[np.int64], loss: Array, count: int, nms: Suppression | None, boxes: Array,
    among: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:  # fmt: skip
    """The matches that are among the `count` boxes with the largest loss, and the boxes without a match among them.

    among: whether each box can be an example; None: all can.
    """
    chosen = np.zeros(len(match), bool)
    eligible = np.arange(len(match)) if among is None else np.flatnonzero(among)
    chosen[_hardest(eligible, loss, count, nms, boxes)] = True
    left = np.where((match > UNMATCHED) & ~chosen, UNMATCHED, match)
    return left, np.flatnonzero(chosen & (match == UNMATCHED))


def _hardest(
    eligible: NDArray[np.intp], loss: Array, count: int, nms: Suppression | None, boxes: Array
) -> NDArray[np.intp]:
    loss = np.where(np.isnan(loss), np.inf, loss)  # the hardest: an example left out would not be seen in the loss
    order = eligible[np.argsort(-loss[eligible], kind="stable")]
    if nms is not None:
        order = order if nms.top_k < 0 else order[: nms.top_k]
        order = order[~(areas(boxes[order]) < _SMALLEST)]
        order = order[suppress(boxes[order], loss[order], nms.threshold)]
    return order[:count]
