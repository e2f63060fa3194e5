"""Anchors and box regression of Faster R-CNN (Ren et al. 2015), in pixels: a box x1, y1, x2, y2 ends with pixel x2, y2.

A box is thus x2 - x1 + 1 pixels wide. Offsets are dx, dy of the centre relative to the size, and dw, dh, logarithms of
the ratios of the sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.boxes import pair_overlaps, suppress
from dragon.memory.storage import Array

__all__ = [
    "RATIOS", "SCALES", "anchor_grid", "clip_boxes", "decode_offsets", "encode_offsets", "make_anchors",
    "overlaps_of_pixels", "suppress_pixels",
]  # fmt: skip

RATIOS = (0.5, 1.0, 2.0)
SCALES = (8.0, 16.0, 32.0)
MAX_LOG = 30.0  # of dw and dh, so that a net that diverges gives a box and no overflow


def make_anchors(base_size: float, ratios: Sequence[float], scales: Sequence[float]) -> Array:
    """The anchors (A, 4) of the position at the origin: for each ratio height / width all scales of the base square.

    The base square's area decides the sides, which are rounded to whole pixels before they are scaled.
    """
    centre = (base_size - 1) / 2
    found = []
    for ratio in ratios:
        width = np.round(np.sqrt(base_size * base_size / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            half = (np.array([width, height]) * scale - 1) / 2
            found.append(np.concatenate([centre - half, centre + half]))
    return np.array(found)


def anchor_grid(anchors: Array, height: int, width: int, stride: float) -> Array:
    """All anchors (height * width * A, 4) of a feature map, row by row, those of one position together."""
    y, x = np.meshgrid(np.arange(height) * stride, np.arange(width) * stride, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    grid: Array = (shifts + anchors).reshape(-1, 4)
    return grid


def _centres(boxes: Array) -> tuple[Array, Array]:
    """Sizes (N, 2) and centres (N, 2) of boxes (N, 4)."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return size, boxes[:, :2] + size / 2


def encode_offsets(boxes: Array, true: Array) -> Array:
    """The offsets (N, 4) that move `boxes` (N, 4) to `true` (N, 4)."""
    (size, centre), (true_size, true_centre) = _centres(boxes), _centres(true)
    return np.concatenate([(true_centre - centre) / size, np.log(true_size / size)], axis=1)


def decode_offsets(boxes: Array, offsets: Array) -> Array:
    """`boxes` (N, 4) moved by `offsets` (N, ..., 4): (N, ..., 4).

    As in py-faster-rcnn the moved box ends at centre + size / 2, one pixel further than `encode_offsets` says.
    """
    size, centre = _centres(boxes)
    between = (slice(None), *[None] * (offsets.ndim - 2), slice(None))
    size, centre = size[between], centre[between]
    moved = centre + offsets[..., :2] * size
    half = np.exp(np.minimum(offsets[..., 2:], MAX_LOG)) * size / 2
    return np.concatenate([moved - half, moved + half], axis=-1)


def clip_boxes(boxes: Array, height: float, width: float) -> Array:
    """`boxes` (..., 4) cut at the border of an image of this size."""
    most = np.array([width, height, width, height]) - 1
    clipped: Array = np.clip(boxes, 0, np.maximum(most, 0))
    return clipped


def _edges(boxes: Array) -> Array:
    """Boxes that end with a pixel as boxes that end at its far edge."""
    edges: Array = boxes + np.array([0, 0, 1, 1])
    return edges


def overlaps_of_pixels(boxes: Array, others: Array) -> Array:
    """Intersection over union (N, M) of `boxes` (N, 4) with `others` (M, 4), with x2 and y2 belonging to a box."""
    return pair_overlaps(_edges(boxes), _edges(others))


def suppress_pixels(boxes: Array, scores: Array, threshold: float, top_k: int = -1, most: int = -1) -> list[int]:
    """`dragon.bases.boxes.suppress` for boxes to which x2 and y2 belong."""
    return suppress(_edges(boxes), scores, threshold, top_k, most=most)
