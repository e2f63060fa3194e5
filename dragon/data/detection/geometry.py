"""Boxes as rows (xmin, ymin, xmax, ymax): areas, overlap, and their places in a window of the image.

Annotations of an image are rows of 7 float64: label, instance, the box in fractions of the image's size, difficult.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["BOX", "DIFFICULT", "INSTANCE", "LABEL", "NONE", "UNIT", "areas", "covered", "emitted", "project"]

LABEL, INSTANCE, DIFFICULT = 0, 1, 6  # columns of annotations
BOX = slice(2, 6)  # the columns of the box
UNIT = np.array([0.0, 0.0, 1.0, 1.0])  # the whole image

NONE: Array = np.empty((0, 7))  # the annotations of an image without objects


def areas(boxes: Array, pixel: float = 0.0) -> Array:
    """Areas (...) of `boxes` (..., 4); 0 for a box whose maximum lies below its minimum.

    pixel: 1 where coordinates are the numbers of pixels, the last of which belongs to the box, as in VOC.
    """
    size = boxes[..., 2:] - boxes[..., :2]
    area: Array = np.where((size < 0).any(axis=-1), 0, (size + pixel).prod(axis=-1))
    return area


def covered(boxes: Array, by: Array, jaccard: bool = False) -> Array:
    """The part of the area of each of `boxes` that lies in `by`, (..., 4) each, which are broadcast.

    jaccard: the part of the area of both together instead, their intersection over union.
    """
    corners = np.maximum(boxes[..., :2], by[..., :2]), np.minimum(boxes[..., 2:], by[..., 2:])
    both = areas(np.concatenate(corners, axis=-1))
    whole = areas(boxes) + (areas(by) - both if jaccard else 0)
    part: Array = np.where(both > 0, both / np.where(whole > 0, whole, 1), 0)
    return part


def emitted(boxes: Array, window: Array, constraint: pb.EmitConstraint) -> NDArray[np.bool_]:
    """Which of `boxes` (N, 4) stay when the image becomes `window` (4).

    CENTER: their centre lies in the window, MIN_OVERLAP: a larger part of their area than emit_overlap does.
    """
    if constraint.emit_type == pb.EmitConstraint.MIN_OVERLAP:
        by_area: NDArray[np.bool_] = covered(boxes, window) > constraint.emit_overlap
        return by_area
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside: NDArray[np.bool_] = np.all((center >= window[:2]) & (center <= window[2:]), axis=1)
    return inside


def project(rows: Array, window: Array, constraint: pb.EmitConstraint | None = None) -> Array:
    """Annotations (M, 7) with boxes in fractions of `window` (4), clipped to it.

    Boxes outside of it, without area, or that do not meet the constraint are left out.
    """
    boxes = rows[:, BOX]
    keep = ((boxes[:, :2] < window[2:]) & (boxes[:, 2:] > window[:2])).all(axis=1)
    if constraint is not None:
        keep &= emitted(boxes, window, constraint)
    found = rows[keep]
    corner, size = np.tile(window[:2], 2), np.tile(window[2:] - window[:2], 2)
    found[:, BOX] = ((found[:, BOX] - corner) / size).clip(0, 1)
    return found[areas(found[:, BOX]) > 0]
