"""YoloDetectionOutput and Yolov3DetectionOutput against loops over positions and anchors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from tests.layers.helpers import One
from tests.layers.yolo_cases import box_of, iou, logistic, random_map

V2 = "num_classes: 3 num_box: 2 biases: 0.8 biases: 1.1 biases: 1.9 biases: 1.2"
V3 = (
    "num_classes: 3 num_box: 2 mask: 2 mask: 3 mask: 0 mask: 1 anchors_scale: 16 anchors_scale: 8 "
    "biases: 10 biases: 14 biases: 23 biases: 27 biases: 37 biases: 58 biases: 81 biases: 82"
)
CATALOGUE = {
    "YoloDetectionOutput": [(f"yolo_detection_output_param {{ {V2} confidence_threshold: 0.2 }}", ((2, 16, 4, 5),))],
    "Yolov3DetectionOutput": [
        (f"yolov3_detection_output_param {{ {V3} confidence_threshold: 0.3 }}", ((2, 16, 3, 4), (2, 16, 6, 8))),
        (
            f"yolov3_detection_output_param {{ {V3} confidence_threshold: 0.1 gaussian_box: true }}",
            ((2, 24, 3, 4), (2, 24, 6, 8)),
        ),
    ],
}
MAPS = [random_map(2, 3, 3, 4, 1.5), random_map(2, 3, 6, 8, 1.5)]


def chosen(candidates: list[tuple[float, int, list[float]]], threshold: float) -> list[list[float]]:
    kept: list[tuple[float, int, list[float]]] = []
    for score, label, box in sorted(candidates, key=lambda one: -one[0]):
        if all(iou(box, other) < threshold for _, _, other in kept):
            kept.append((score, label, box))
    return [
        [label, score, b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2] for score, label, b in kept
    ]


def compare(found: Any, expected: list[list[list[float]]]) -> None:
    rows = [[float(n), *row] for n, of_item in enumerate(expected) for row in of_item]
    assert found.shape == (1, 1, len(rows), 7)
    np.testing.assert_allclose(found[0, 0], rows, rtol=1e-5, atol=1e-6)  # settings are float32


@pytest.mark.parametrize(("least", "threshold"), [(0.01, 0.45), (0.3, 0.1), (0.01, 0)])
@pytest.mark.parametrize("count", [1, 2])
def test_v2(count: int, least: float, threshold: float) -> None:
    maps = MAPS[:count]
    text = f"{V2} confidence_threshold: {least} nms_threshold: {threshold}"
    one = One(f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {text} }}', *maps, dtype=np.float64)
    expected = []
    for n in range(3):
        candidates = []
        for x in maps:
            height, width = x.shape[2:]
            values = x.reshape(3, 2, 8, height, width)[n]
            for j, i, a in np.ndindex(height, width, 2):
                v = values[a, :, j, i]
                e = [math.exp(s) for s in v[5:]]
                label = e.index(max(e))
                score = logistic(v[4]) * e[label] / sum(e)
                size = ((0.8, 1.9)[a] / width, (1.1, 1.2)[a] / height)
                if score >= least:
                    candidates.append((score, label + 1, box_of(v, j, i, size, (height, width))))
        expected.append(chosen(candidates, threshold))
    assert any(expected)
    compare(one.forward(), expected)


@pytest.mark.parametrize(("least", "threshold"), [(0.01, 0.45), (0.4, 0.1), (0.01, 0)])
def test_v3(least: float, threshold: float) -> None:
    text = f"{V3} confidence_threshold: {least} nms_threshold: {threshold}"
    one = One(f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {text} }}', *MAPS, dtype=np.float64)
    biases = [(10, 14), (23, 27), (37, 58), (81, 82)]
    expected = []
    for n in range(3):
        candidates = []
        for x, mask, scale in zip(MAPS, ((2, 3), (0, 1)), (16, 8), strict=True):
            height, width = x.shape[2:]
            values = x.reshape(3, 2, 8, height, width)[n]
            for j, i, a, c in np.ndindex(height, width, 2, 3):
                v = values[a, :, j, i]
                size = (biases[mask[a]][0] / (width * scale), biases[mask[a]][1] / (height * scale))
                score = logistic(v[4]) * logistic(v[5 + c])
                if score > least:
                    candidates.append((score, c + 1, box_of(v, j, i, size, (height, width))))
        expected.append(chosen(candidates, threshold))
    compare(one.forward(), expected)


def test_gaussian_boxes() -> None:
    """A deviation stands behind each number of a box; their mean lowers the score."""
    maps = [
        np.random.default_rng(k).standard_normal((3, 2 * 12, *shape)) * 1.5 for k, shape in ((1, (3, 4)), (2, (6, 8)))
    ]
    text = f"{V3} confidence_threshold: 0.15 nms_threshold: 0.3 gaussian_box: true"
    one = One(f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {text} }}', *maps, dtype=np.float64)
    biases = [(10, 14), (23, 27), (37, 58), (81, 82)]
    expected = []
    for n in range(3):
        candidates = []
        for x, mask, scale in zip(maps, ((2, 3), (0, 1)), (16, 8), strict=True):
            height, width = x.shape[2:]
            values = x.reshape(3, 2, 12, height, width)[n]
            for j, i, a, c in np.ndindex(height, width, 2, 3):
                v = values[a, :, j, i]
                size = (biases[mask[a]][0] / (width * scale), biases[mask[a]][1] / (height * scale))
                certain = 1 - sum(logistic(v[k]) for k in (1, 3, 5, 7)) / 4
                score = logistic(v[8]) * certain * logistic(v[9 + c])
                if score > 0.15:
                    candidates.append((score, c + 1, box_of(v[[0, 2, 4, 6]], j, i, size, (height, width))))
        expected.append(chosen(candidates, 0.3))
    assert all(expected)
    compare(one.forward(), expected)


def test_nothing_found() -> None:
    one = One(f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {V2} confidence_threshold: 2 }}', MAPS[0])
    np.testing.assert_array_equal(one.forward()[0, 0], [[n, -1, -1, -1, -1, -1, -1] for n in range(3)])


def test_errors() -> None:
    for kind, field, settings, message in (
        ("Yolo", "yolo", V2 + " coords: 5", "coords must be 4"),
        ("Yolo", "yolo", V2 + " biases: 1", "needs biases"),
        ("Yolov3", "yolov3", V3 + " mask: 1", "mask must name num_box anchors"),
        ("Yolov3", "yolov3", V3 + " mask_group_num: 3", "takes mask_group_num bottoms, 3, got 2"),
        ("Yolov3", "yolov3", V3 + " anchors_scale: 3", "needs a positive anchors_scale"),
        ("Yolov3", "yolov3", V3.replace("mask: 3", "mask: 4"), "for each of 5 anchors"),
    ):
        maps = MAPS if kind == "Yolov3" else MAPS[:1]
        with pytest.raises(PrototxtError, match=message):
            One(f'type: "{kind}DetectionOutput" {field}_detection_output_param {{ {settings} }}', *maps)
    with pytest.raises(ShapeError, match=r"bottom 0: expected a map \(3, 24, H, W\), with 9 \+ 3 channels"):
        One(f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {V3} gaussian_box: true }}', *MAPS)
    with pytest.raises(ShapeError, match=r"bottom 1: expected a map \(3, 16, H, W\)"):
        One(f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {V3} }}', MAPS[0], MAPS[1][:2])
