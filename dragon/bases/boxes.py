"""Boxes as rows xmin, ymin, xmax, ymax: codes, intersection over union, and non-maximum suppression.

Everything runs on the host, since the number of results depends on the values.
"""

from __future__ import annotations

import numpy as np

from dragon.data.detection.geometry import areas
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["decode_boxes", "encode_boxes", "overlaps", "pair_overlaps", "suppress"]

_BLOCK = 128  # candidates of a suppression that are compared with one another at once
_ROWS = 64  # kept boxes that are compared with all later candidates at once


def decode_boxes(prior: Array, variance: Array | None, offset: Array, code: int) -> Array:
    """Boxes (..., P, 4) that `offset` (..., P, 4) encodes relative to the default boxes `prior` (P, 4).

    prior: may have axes in front, as `offset` has. variance: (P, 4), factors of the offsets; None if they have been
    applied. code: a PriorBoxParameter.CodeType.
    """
    d = offset if variance is None else offset * variance
    if code == pb.PriorBoxParameter.CORNER:
        corners: Array = prior + d
        return corners
    size = prior[..., 2:] - prior[..., :2]
    if code == pb.PriorBoxParameter.CORNER_SIZE:
        scaled: Array = prior + d * np.concatenate([size, size], axis=-1)
        return scaled
    center = (prior[..., :2] + prior[..., 2:]) / 2 + d[..., :2] * size
    half = np.exp(d[..., 2:]) * size / 2
    return np.concatenate([center - half, center + half], axis=-1)


def encode_boxes(prior: Array, variance: Array | None, boxes: Array, code: int) -> Array:
    """The offsets (K, 4) from which `decode_boxes` gives `boxes` (K, 4), each relative to its row of `prior` (K, 4).

    variance: (K, 4), what the offsets are divided by; None to leave them. Boxes and default boxes must have an area for
    the code CENTER_SIZE, default boxes for CORNER_SIZE.
    """
    size = prior[:, 2:] - prior[:, :2]
    if code == pb.PriorBoxParameter.CENTER_SIZE:
        shift = (boxes[:, :2] + boxes[:, 2:] - prior[:, :2] - prior[:, 2:]) / 2 / size
        offset = np.concatenate([shift, np.log((boxes[:, 2:] - boxes[:, :2]) / size)], axis=1)
    else:
        offset = boxes - prior
        if code == pb.PriorBoxParameter.CORNER_SIZE:
            offset = offset / np.concatenate([size, size], axis=1)
    result: Array = offset if variance is None else offset / variance
    return result


def pair_overlaps(a: Array, b: Array, pixel: float = 0.0) -> Array:
    """Intersection over union (N, M) of each of `a` (N, 4) with each of `b` (M, 4). pixel: as for `areas`."""
    one, other = a[:, :, None], b.T  # corners (N, 4, 1) and (4, M)
    width = np.minimum(one[:, 2], other[2]) - np.maximum(one[:, 0], other[0])
    height = np.minimum(one[:, 3], other[3]) - np.maximum(one[:, 1], other[1])
    if pixel:
        apart = (width < 0) | (height < 0)
        width, height = np.where(apart, 0, width + pixel), np.where(apart, 0, height + pixel)
    np.maximum(width, 0, out=width)
    np.maximum(height, 0, out=height)
    width *= height
    union = areas(a, pixel)[:, None] + areas(b, pixel)
    union -= width
    result: Array = np.divide(width, union, out=np.zeros_like(width), where=width > 0)
    return result


def overlaps(box: Array, boxes: Array) -> Array:
    """Intersection over union (N) of `box` (4) with each of `boxes` (N, 4)."""
    result: Array = pair_overlaps(box[None], boxes)[0]
    return result


def suppress(
    boxes: Array,
    scores: Array,
    threshold: float,
    top_k: int = -1,
    eta: float = 1.0,
    min_score: float | None = None,
    most: int = -1,
) -> list[int]:
    """Non-maximum suppression: indices of the boxes that are kept, highest score first.

    boxes (N, 4), scores (N). A box is dropped if its overlap with a kept box of a higher score exceeds `threshold`.
    min_score: only boxes with a higher score are candidates. top_k: only that many candidates of the highest scores are
    considered (-1: all). eta: after each kept box a threshold above 0.5 is multiplied by this factor. most: end when
    so many boxes are kept (-1: never).
    """
    candidates = np.arange(len(scores)) if min_score is None else np.flatnonzero(scores > min_score)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    if top_k > -1:
        candidates = candidates[:top_k]
    kept: list[int] = []
    highest = np.zeros(len(candidates))  # overlap of each candidate with a kept box
    while candidates.size:
        block, candidates = candidates[:_BLOCK], candidates[_BLOCK:]
        near, highest = highest[:_BLOCK], highest[_BLOCK:]
        among = pair_overlaps(boxes[block], boxes[block])
        chosen: list[int] = []
        for i in range(len(block)):
            if near[i] <= threshold:
                if len(kept) + len(chosen) == most:
                    return kept + chosen
                chosen.append(int(block[i]))
                np.maximum(near, among[i], out=near)
                if eta < 1 and threshold > 0.5:
                    threshold *= eta
        kept += chosen
        for start in range(0, len(chosen), _ROWS):
            left = highest <= threshold  # the threshold only falls
            candidates, highest = candidates[left], highest[left]
            if candidates.size:
                found = pair_overlaps(boxes[chosen[start : start + _ROWS]], boxes[candidates])
                highest = np.maximum(highest, found.max(axis=0))
    return kept
