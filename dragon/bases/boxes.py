"""Boxes as rows xmin, ymin, xmax, ymax: decoding, intersection over union, and non-maximum suppression.

Everything runs on the host, since the number of results depends on the values.
"""

from __future__ import annotations

import numpy as np

from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["areas", "decode_boxes", "overlap_matrix", "overlaps", "suppress"]


def decode_boxes(prior: Array, variance: Array | None, offset: Array, code: int) -> Array:
    """Boxes (..., P, 4) that `offset` (..., P, 4) encodes relative to the default boxes `prior` (P, 4).

    variance: (P, 4), factors of the offsets; None if they have been applied. code: a PriorBoxParameter.CodeType.
    """
    d = offset if variance is None else offset * variance
    if code == pb.PriorBoxParameter.CORNER:
        corners: Array = prior + d
        return corners
    size = prior[:, 2:] - prior[:, :2]
    if code == pb.PriorBoxParameter.CORNER_SIZE:
        scaled: Array = prior + d * np.concatenate([size, size], axis=1)
        return scaled
    center = (prior[:, :2] + prior[:, 2:]) / 2 + d[..., :2] * size
    half = np.exp(d[..., 2:]) * size / 2
    return np.concatenate([center - half, center + half], axis=-1)


def areas(boxes: Array) -> Array:
    """Areas (N) of `boxes` (N, 4); 0 for a box whose maximum lies below its minimum."""
    size = boxes[:, 2:] - boxes[:, :2]
    result: Array = np.where((size < 0).any(axis=1), 0, size.prod(axis=1))
    return result


def overlaps(box: Array, boxes: Array) -> Array:
    """Intersection over union (N) of `box` (4) with each of `boxes` (N, 4)."""
    shared = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = np.maximum(shared, 0).prod(axis=1)
    union = areas(box[None])[0] + areas(boxes) - both
    result: Array = np.where(both > 0, both / np.where(union > 0, union, 1), 0)
    return result


def overlap_matrix(boxes: Array, others: Array) -> Array:
    """Intersection over union (N, M) of each of `boxes` (N, 4) with each of `others` (M, 4)."""
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    both = np.maximum(np.minimum(boxes[:, None, 2:], others[:, 2:]) - low, 0).prod(axis=2)
    union = areas(boxes)[:, None] + areas(others) - both
    result: Array = np.where(both > 0, both / np.where(union > 0, union, 1), 0)
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
    if eta >= 1:
        while candidates.size and len(kept) != most:
            first, rest = candidates[0], candidates[1:]
            kept.append(int(first))
            candidates = rest[overlaps(boxes[first], boxes[rest]) <= threshold]
        return kept
    for index in candidates:
        if len(kept) == most:
            break
        if not kept or overlaps(boxes[index], boxes[kept]).max() <= threshold:
            kept.append(int(index))
            if threshold > 0.5:
                threshold *= eta
    return kept
