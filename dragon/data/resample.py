"""Resizing in the other ways of OpenCV that SSD's data layer chooses from: area, cubic, Lanczos.

uint8 results differ from OpenCV's by at most one grey level, which computes them in fixed point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.resize import nearest_before

__all__ = ["resize_area", "resize_cubic", "resize_lanczos"]

Image = NDArray[Any]
_CUBIC = -0.75  # the free coefficient of the cubic kernel, as OpenCV chooses it


def resize_cubic(image: Image, height: int, width: int) -> Image:
    """`image` (C, H, W) uint8 by bicubic interpolation without antialiasing, INTER_CUBIC."""
    return _by_taps(image, height, width, _cubic)


def resize_lanczos(image: Image, height: int, width: int) -> Image:
    """`image` (C, H, W) uint8 by Lanczos' kernel over 8 x 8 pixels, INTER_LANCZOS4."""
    return _by_taps(image, height, width, _lanczos)


def resize_area(image: Image, height: int, width: int) -> Image:
    """`image` (C, H, W) uint8 by the mean of the area that a new pixel covers, INTER_AREA.

    Where a side grows, a new pixel takes two old ones only if it covers both, otherwise one.
    """
    if image.shape[1:] == (height, width):
        return image
    if height <= image.shape[1] and width <= image.shape[2]:
        return _rounded(_mean_along(_mean_along(image.astype(np.float64), height, 1), width, 2), image)
    made = image.astype(np.float32)
    for axis, new in ((1, height), (2, width)):
        old = made.shape[axis]
        first = nearest_before(old, new)
        share = ((np.arange(new) + 1) - (first + 1) * (new / old)).astype(np.float32)  # 0.99999999 becomes 1
        share = np.where(share <= 0, 0, share - np.floor(share))
        made = _taps(made, axis, [first, first + 1], [1 - share, share])
    return _rounded(made, image)


def _mean_along(image: Image, new: int, axis: int) -> Image:
    """The means of `new` equal parts of an axis, by the differences of its running sum."""
    old = image.shape[axis]
    edges = np.arange(new + 1) * (old / new)
    edges[-1] = old
    whole = np.minimum(edges.astype(np.intp), old - 1)
    fraction = edges - whole
    total = np.cumsum(image, axis=axis)
    total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis=axis)
    shape = [1] * image.ndim
    shape[axis] = new + 1
    at_edges = total.take(whole, axis) + image.take(whole, axis) * fraction.reshape(shape)
    means: Image = np.diff(at_edges, axis=axis) / (old / new)
    return means


def _by_taps(image: Image, height: int, width: int, kernel: Any) -> Image:
    if image.shape[1:] == (height, width):
        return image
    made = image.astype(np.float32)
    for axis, new in ((1, height), (2, width)):
        old = made.shape[axis]
        at = (np.arange(new) + 0.5) * (old / new) - 0.5
        first = np.floor(at)
        weights = kernel(at - first)
        start = first.astype(np.intp) - (len(weights) // 2 - 1)
        made = _taps(made, axis, [start + k for k in range(len(weights))], weights)
    return _rounded(made, image)


def _taps(image: Image, axis: int, places: list[NDArray[np.intp]], weights: Any) -> Image:
    """The weighted sum of elements of an axis; places beyond its ends take the end."""
    shape = [1] * image.ndim
    shape[axis] = -1
    total: Image | None = None
    for place, weight in zip(places, weights, strict=True):
        part = image.take(np.clip(place, 0, image.shape[axis] - 1), axis)
        part *= np.asarray(weight, np.float32).reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    return image if total is None else total


def _cubic(x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The weights of the four pixels around a place, which lies x behind the second."""
    a = _CUBIC
    one = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
    two = ((a + 2) * x - (a + 3)) * x * x + 1
    three = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) ** 2 + 1
    return [one, two, three, 1 - one - two - three]


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights of the eight pixels around a place, which lies x behind the fourth; they add up to 1."""
    distance = x - np.arange(-3, 5)[:, None]
    weights: NDArray[np.float64] = np.sinc(distance) * np.sinc(distance / 4)
    weights /= weights.sum(axis=0)
    return weights


def _rounded(values: Image, like: Image) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(like.dtype)
