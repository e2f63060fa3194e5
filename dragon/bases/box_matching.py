"""Boxes of labels, and which default box or prediction stands for which of them (SSD, Liu et al. 2016, section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.boxes import decode_boxes, pair_overlaps
from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = [
    "IGNORED",
    "UNMATCHED",
    "Truth",
    "check_predictions",
    "match_boxes",
    "refined_boxes",
    "shows_object",
    "truth_of",
]

UNMATCHED = -1
IGNORED = -2  # of a box that crosses the border of the image, where such boxes count neither way
_LEAST = 1e-6  # overlaps up to this count as none
_VALUES = 8  # of a row: item, class, number of the instance, xmin, ymin, xmax, ymax, difficult


@dataclass(frozen=True)
class Truth:
    """The boxes that the labels give for one image, as fractions of its size."""

    boxes: NDArray[np.float64]  # (G, 4): xmin, ymin, xmax, ymax
    labels: NDArray[np.int64]  # (G,)
    difficult: NDArray[np.bool_]  # (G,)

    def only(self, rows: NDArray[Any]) -> Truth:
        """These rows; an index or a mask."""
        return Truth(self.boxes[rows], self.labels[rows], self.difficult[rows])


def check_predictions(
    layer: Layer, bottom: Sequence[Blob], locations: int, classes: int, refining: int
) -> tuple[int, int]:
    """The batch size N and the number P of default boxes. Raises ShapeError for bottoms of other shapes.

    Bottoms: offsets (N, P * locations * 4), confidences (N, P * classes), and a top (1, 2, P * 4) of PriorBox; from the
    index `refining` on, if there are so many, what RefineDet has: confidences of background and object (N, P * 2), and
    offsets that move the default boxes (N, P * 4).
    """
    shape = bottom[2].shape
    if len(shape) < 3 or shape[1] != 2 or bottom[2].count % 8:
        layer.bad_shape(f"bottom 2 must be a PriorBox top of shape (1, 2, P * 4), got {shape}")
    n, priors = bottom[0].shape[0] if bottom[0].ndim else 0, bottom[2].count // 8
    for i, each in ((0, locations * 4), (1, classes), (refining, 2), (refining + 1, 4)):
        if i < len(bottom) and bottom[i].count != n * priors * each:
            layer.bad_shape(
                f"bottom {i}: expected shape {(n, priors * each)} for {how_many(priors, 'default box')}, got "
                f"{bottom[i].shape}"
            )
    return n, priors


def refined_boxes(bottom: Sequence[Blob], refining: int, prior: Array, factors: Array | None, code: int) -> Array:
    """The default boxes (N, P, 4) of each item, moved by the offsets of bottom `refining` + 1 if there is one.

    prior: (P, 4). factors, code: as for `decode_boxes`.
    """
    n = bottom[0].shape[0] if bottom[0].ndim else 0
    if len(bottom) <= refining + 1:
        return np.broadcast_to(prior, (n, *prior.shape))
    with np.errstate(over="ignore"):  # a box without end overlaps nothing
        return decode_boxes(prior, factors, bottom[refining + 1].peek().reshape(n, *prior.shape), code)


def shows_object(bottom: Sequence[Blob], refining: int, least: float) -> NDArray[np.bool_] | None:
    """Whether each default box (N, P) shows an object with a probability of `least`; None without such a bottom."""
    if len(bottom) <= refining:
        return None
    scores = bottom[refining].peek()
    scores = scores.reshape(bottom[0].shape[0], bottom[2].count // 8, 2)[..., 1]
    background: NDArray[np.bool_] = scores < scores.dtype.type(least)
    return ~background


def truth_of(layer: Layer, values: Array, classes: int, background: int, items: int | None = None) -> dict[int, Truth]:
    """The boxes of each item that has some, from a label blob (1, 1, G, 8) of AnnotatedData; an item of -1 is no box.

    classes: labels lie below this. background: a label that no box may have. items: the batch size, if it is known.
    Raises DataError for a label or an item that is out of range, with its row.
    """
    rows = np.asarray(values, np.float64).reshape(-1, _VALUES)
    number = np.flatnonzero(rows[:, 0] != -1)
    rows = rows[number]
    for column, what, end in ((0, "item", items), (1, "label", classes)):
        found = rows[:, column]
        bad = ~((found >= 0) & (found < (np.inf if end is None else end)) & (found == np.floor(found)))
        if column == 1:
            bad |= found == background
        if bad.any():
            i = int(bad.argmax())
            expected = "a whole number from 0 on" if end is None else f"0 to {end - 1}"
            if column == 1 and 0 <= background < classes:
                expected += f" without the background, {background}"
            raise DataError(f"{what} {found[i]:g} of box {number[i]}: expected {expected}", layer=layer.where)
    result = {}
    for item in np.unique(rows[:, 0]):
        own = rows[rows[:, 0] == item]
        result[int(item)] = Truth(own[:, 3:7], own[:, 1].astype(np.int64), own[:, 7] != 0)
    return result


def match_boxes(
    boxes: Array, truth: Array, threshold: float | None, inside_only: bool = False
) -> tuple[NDArray[np.int64], Array]:
    """The row of `truth` (G, 4) that each of `boxes` (P, 4) is matched with, or UNMATCHED; and an overlap (P).

    First each row of `truth` gets the box that overlaps it most, beginning with the largest overlap of all; of equal
    overlaps the first box and then the first row wins. Then, unless `threshold` is None, each of the other boxes gets
    the row that it overlaps most, if by at least that. The overlap is that with the matched row, for a box without a
    match the largest. inside_only: boxes that cross the border of the image are IGNORED.
    """
    match = np.full(len(boxes), UNMATCHED, np.int64)
    found = pair_overlaps(boxes, truth)
    found[~(found > _LEAST)] = 0
    if inside_only:
        crossing = ((boxes < 0) | (boxes > 1)).any(axis=1)
        match[crossing] = IGNORED
        found[crossing] = 0
    if not found.size:
        return match, np.zeros(len(boxes), found.dtype)
    most: Array = found.max(axis=1)
    free = found.copy()
    best, where = free.max(axis=0), free.argmax(axis=0)
    while (highest := best.max()) > 0:
        row = min(np.flatnonzero(best == highest).tolist(), key=lambda j: (where[j], j))
        box = where[row]
        match[box], most[box] = row, highest
        free[box], free[:, row] = 0, 0
        again = where == box
        best[again], where[again] = free[:, again].max(axis=0), free[:, again].argmax(axis=0)
        best[row] = 0
    if threshold is not None:
        rest = (match == UNMATCHED) & (most > 0) & (most >= threshold)
        match[rest] = found[rest].argmax(axis=1)
    return match, most
