"""Anchors and box regression of Faster R-CNN, against published values and loops."""

from __future__ import annotations

import math

import numpy as np

from dragon.bases.anchors import (
    RATIOS,
    SCALES,
    anchor_grid,
    clip_boxes,
    decode_offsets,
    encode_offsets,
    make_anchors,
    overlaps_of_pixels,
    suppress_pixels,
)

RNG = np.random.default_rng(5)
FAR = np.array([0, 0, 1, 1])  # decoded boxes end at the far edge of their last pixel


def boxes(n: int, size: float = 40) -> np.ndarray:
    low = RNG.uniform(0, size, (n, 2))
    return np.concatenate([low, low + RNG.uniform(1, size, (n, 2))], axis=1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Of two boxes in whole pixels, by counting the shared side lengths."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return float(width * height / (sum(areas) - width * height))


def test_anchors_are_those_of_the_paper() -> None:
    """The nine anchors that the authors' code prints, from 0."""
    expected = [
        [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199], [-56, -56, 71, 71], [-120, -120, 135, 135],
        [-248, -248, 263, 263], [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
    ]  # fmt: skip
    np.testing.assert_array_equal(make_anchors(16, RATIOS, SCALES), expected)


def test_grid_goes_row_by_row() -> None:
    anchors = make_anchors(4, (1.0, 2.0), (1.0,))
    grid = anchor_grid(anchors, 2, 3, 5)
    for y, x, a in np.ndindex(2, 3, 2):
        np.testing.assert_array_equal(grid[(y * 3 + x) * 2 + a], anchors[a] + np.array([x, y, x, y]) * 5)


def test_offsets() -> None:
    start, goal = boxes(7), boxes(7)
    offsets = encode_offsets(start, goal)
    for (x1, y1, x2, y2), (u1, v1, u2, v2), found in zip(start, goal, offsets, strict=True):
        w, h, w2, h2 = x2 - x1 + 1, y2 - y1 + 1, u2 - u1 + 1, v2 - v1 + 1
        dx = (u1 + w2 / 2 - x1 - w / 2) / w
        dy = (v1 + h2 / 2 - y1 - h / 2) / h
        np.testing.assert_allclose(found, [dx, dy, math.log(w2 / w), math.log(h2 / h)])
    np.testing.assert_allclose(decode_offsets(start, offsets), goal + FAR)
    twice = decode_offsets(start, np.stack([offsets, 0 * offsets], axis=1))
    np.testing.assert_allclose(twice[:, 0], goal + FAR)
    np.testing.assert_allclose(twice[:, 1], start + FAR)
    assert np.isfinite(decode_offsets(start, np.full((7, 4), 1e9))).all()


def test_clip() -> None:
    found = clip_boxes(np.array([[-3.0, 2, 50, 60], [1, -1, 9, 9]]), 20, 30)
    np.testing.assert_array_equal(found, [[0, 2, 29, 19], [1, 0, 9, 9]])


def test_overlaps() -> None:
    a, b = np.round(boxes(6)), np.round(boxes(4))
    b[0] = a[2]
    expected = [[overlap(one, other) for other in b] for one in a]
    np.testing.assert_allclose(overlaps_of_pixels(a, b), expected)
    assert overlaps_of_pixels(a, np.zeros((0, 4))).shape == (6, 0)


def test_suppression() -> None:
    found, scores = np.round(boxes(60, 25)), RNG.uniform(size=60)
    scores[10] = scores[20]  # a tie: the first one comes first
    kept: list[int] = []
    for i in sorted(range(60), key=lambda i: (-scores[i], i)):
        if all(overlap(found[i], found[j]) <= 0.4 for j in kept):
            kept.append(i)
    assert suppress_pixels(found, scores, 0.4) == kept
    assert suppress_pixels(found, scores, 0.4, most=3) == kept[:3]
    few = sorted(sorted(range(60), key=lambda i: (-scores[i], i))[:20])
    assert suppress_pixels(found, scores, 0.4, top_k=20) == [
        few[i] for i in suppress_pixels(found[few], scores[few], 0.4)
    ]
