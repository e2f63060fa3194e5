"""Resizing by area, cubic and Lanczos kernels, against sums over the pixels one by one, and against OpenCV."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from dragon.data.resample import resize_area, resize_cubic, resize_lanczos

RNG = np.random.default_rng(3)
SIZES = [
    ((12, 15), (7, 9)),
    ((12, 15), (6, 5)),
    ((9, 7), (20, 30)),
    ((10, 10), (15, 4)),
    ((3, 5), (3, 5)),
    ((1, 1), (4, 3)),
    ((28, 22), (36, 36)),  # new pixels that begin with old ones
    ((5, 24), (9, 39)),
]


def cubic(x: float) -> float:
    a, x = -0.75, abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    return 4 * math.sin(math.pi * x) * math.sin(math.pi * x / 4) / (math.pi * x) ** 2 if abs(x) < 4 else 0.0


def along(line: np.ndarray, new: int, kernel: Callable[[float], float], reach: int) -> np.ndarray:
    old = len(line)
    made = []
    for i in range(new):
        at = (i + 0.5) * old / new - 0.5
        places = range(math.floor(at) - reach + 1, math.floor(at) + reach + 1)
        weights = [kernel(at - place) for place in places]
        made.append(sum(w * line[min(max(p, 0), old - 1)] for w, p in zip(weights, places, strict=True)) / sum(weights))
    return np.array(made)


def mean_along(line: np.ndarray, new: int) -> np.ndarray:
    """The mean of the line over each new pixel: its overlap with each old one."""
    step = len(line) / new
    made = []
    for i in range(new):
        start, end = i * step, (i + 1) * step
        parts = [max(0.0, min(end, k + 1) - max(start, k)) for k in range(len(line))]
        made.append(float(np.dot(parts, line)) / step)
    return np.array(made)


def both_ways(image: np.ndarray, size: tuple[int, int], one: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    rows = np.apply_along_axis(lambda line: one(line, size[0]), 1, image.astype(float))
    made: np.ndarray = np.clip(np.apply_along_axis(lambda line: one(line, size[1]), 2, rows), 0, 255)
    return made


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_kernels(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (2, *old), dtype=np.uint8)
    for resize, kernel, reach in ((resize_cubic, cubic, 2), (resize_lanczos, lanczos, 4)):
        made = resize(image, *new)
        assert made.dtype == np.uint8
        expected = both_ways(image, new, partial(along, kernel=kernel, reach=reach))
        assert np.abs(made - expected).max() < 0.51


@pytest.mark.parametrize(("old", "new"), [((12, 15), (7, 9)), ((12, 15), (6, 5)), ((9, 9), (1, 9)), ((5, 4), (5, 4))])
def test_means_of_areas(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = RNG.integers(0, 256, (3, *old), dtype=np.uint8)
    assert np.abs(resize_area(image, *new) - both_ways(image, new, mean_along)).max() < 0.51


def test_as_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    ways = ((resize_cubic, cv2.INTER_CUBIC), (resize_lanczos, cv2.INTER_LANCZOS4), (resize_area, cv2.INTER_AREA))
    for (old, new), (resize, code) in ((sizes, way) for sizes in SIZES for way in ways):
        image = RNG.integers(0, 256, (3, *old), dtype=np.uint8)
        expected = cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)), new[::-1], interpolation=code)
        difference = resize(image, *new).astype(int) - expected.transpose(2, 0, 1)
        assert np.abs(difference).max() <= 1, (old, new, resize.__name__)
