"""Maps and true boxes for the tests of YOLO's layers, and their formulas for one box, in plain Python."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["ROWS", "SSD_ROWS", "box_of", "iou", "logistic", "random_map"]

# class from 0, x, y, w, h of each image: two in one position, ties, and none in the last image
ROWS = np.zeros((3, 1, 6, 5))
ROWS[0, 0, :3] = [[1, 0.3, 0.4, 0.2, 0.3], [0, 0.32, 0.42, 0.25, 0.3], [2, 0.9, 0.1, 0.15, 0.15]]
ROWS[1, 0, :2] = [[2, 0.52, 0.53, 0.9, 0.8], [2, 0.1, 0.95, 0.1, 0.1]]
SSD_ROWS = np.array(
    [
        [n, row[0] + 1, 0, row[1] - row[3] / 2, row[2] - row[4] / 2, row[1] + row[3] / 2, row[2] + row[4] / 2, 0]
        for n, rows in enumerate(ROWS[:, 0])
        for row in rows
        if row[3]
    ]
)[None, None]


def random_map(anchors: int, classes: int, height: int = 4, width: int = 5, scale: float = 0.7) -> np.ndarray:
    return np.random.default_rng(8).standard_normal((3, anchors * (5 + classes), height, width)) * scale


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def box_of(values: np.ndarray, row: int, column: int, size: tuple[float, float], shape: tuple[int, int]) -> list[float]:
    """The box of one anchor: values are its channels, size its width and height, shape the rows and columns."""
    return [
        (column + logistic(values[0])) / shape[1],
        (row + logistic(values[1])) / shape[0],
        math.exp(values[2]) * size[0],
        math.exp(values[3]) * size[1],
    ]


def iou(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes: centre, width, height."""
    width = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    height = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)
