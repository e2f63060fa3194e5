"""RCNNDetectionOutput against a loop over classes and regions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from tests.bases.test_anchors import overlap
from tests.layers.helpers import One

CATALOGUE = {
    "RCNNDetectionOutput": [
        ("", ("regions of one image", "probabilities of regions", (40, 12), "image info")),
        ("rcnn_detection_output_param { keep_top_k: 3 bbox_std: 0.1 bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2 }",
         ("regions of one image", "probabilities of regions", (40, 8), "image info")),
    ]
}  # fmt: skip
RNG = np.random.default_rng(6)
LOW = RNG.uniform(0, 30, (25, 2))
ROIS = np.concatenate([np.zeros((25, 1)), LOW, LOW + RNG.uniform(2, 20, (25, 2))], axis=1)
SCORES = RNG.dirichlet(np.ones(4), 25)
OFFSETS = RNG.standard_normal((25, 16)) / 3
INFO = [[40.0, 48.0, 2.0]]


def make(settings: str = "", offsets: np.ndarray = OFFSETS) -> One:
    text = f'type: "RCNNDetectionOutput" rcnn_detection_output_param {{ {settings} }}'
    return One(text, ROIS, SCORES, offsets, INFO, dtype=np.float64)


@pytest.mark.parametrize("most", [-1, 7])
@pytest.mark.parametrize("agnostic", [False, True])
def test_values(agnostic: bool, most: int) -> None:
    offsets = OFFSETS[:, :8] if agnostic else OFFSETS
    mean, std = (0.1, 0, 0, 0.2), (0.5, 0.5, 1, 1)
    numbers = " ".join([f"bbox_mean: {m}" for m in mean] + [f"bbox_std: {s}" for s in std])
    found = make(f"confidence_threshold: 0.2 nms_threshold: 0.4 keep_top_k: {most} {numbers}", offsets).forward()[0, 0]
    expected = []
    for label in range(1, 4):
        candidates: list[tuple[float, np.ndarray]] = []
        for roi, scores, d in zip(ROIS, SCORES, offsets.reshape(25, -1, 4), strict=True):
            d = d[1 if agnostic else label] * std + mean
            w, h = roi[3] - roi[1] + 1, roi[4] - roi[2] + 1
            x, y = roi[1] + w / 2 + d[0] * w, roi[2] + h / 2 + d[1] * h
            w, h = w * math.exp(d[2]), h * math.exp(d[3])
            ends = zip((x - w / 2, y - h / 2, x + w / 2, y + h / 2), (47, 39, 47, 39), strict=True)
            if scores[label] > 0.2:
                candidates.append((scores[label], np.array([min(max(v, 0), most_of) for v, most_of in ends])))
        kept: list[tuple[float, np.ndarray]] = []
        for score, box in sorted(candidates, key=lambda one: -one[0]):
            if all(overlap(box, other) <= 0.4 for _, other in kept):
                kept.append((score, box))
        expected += [[0, label, s, b[0] / 48, b[1] / 40, (b[2] + 1) / 48, (b[3] + 1) / 40] for s, b in kept]
    assert len(expected) > 7
    if most > 0:
        least = sorted((row[2] for row in expected), reverse=True)[most - 1]
        expected = [row for row in expected if row[2] >= least]
    np.testing.assert_allclose(found, expected)


def test_nothing_found() -> None:
    np.testing.assert_array_equal(make("confidence_threshold: 1").forward()[0, 0], [[0, -1, -1, -1, -1, -1, -1]])


@pytest.mark.parametrize("width", [16, 8])
def test_no_region(width: int) -> None:
    text = 'type: "RCNNDetectionOutput"'
    one = One(text, np.zeros((0, 5)), np.zeros((0, 4)), np.zeros((0, width)), INFO, dtype=np.float64)
    np.testing.assert_array_equal(one.forward()[0, 0], [[0, -1, -1, -1, -1, -1, -1]])


def test_errors() -> None:
    with pytest.raises(PrototxtError, match="nms_threshold must not be negative"):
        make("nms_threshold: -1")
    with pytest.raises(ShapeError, match=r"bottom 2: expected offsets \(25, 16\) or \(25, 8\), got \(25, 12\)"):
        make("", OFFSETS[:, :12])
    text = 'type: "RCNNDetectionOutput"'
    with pytest.raises(ShapeError, match="bottom 1: expected probabilities"):
        One(text, ROIS, SCORES[:, :1], OFFSETS, INFO)
    with pytest.raises(DataError, match="regions of further ones"):
        One(text, ROIS + np.array([1, 0, 0, 0, 0]), SCORES, OFFSETS, INFO).forward()
