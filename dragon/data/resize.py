"""Resizing of images as in OpenCV, and so as in Caffe: bilinear with pixel centres at half integers, or nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.memory.blob import checked_count

__all__ = ["check_resized", "nearest_before", "resize_bilinear", "resize_nearest", "scaled_size"]

_BITS = 11  # of the fraction of a weight in fixed point


def check_resized(*shape: int) -> None:
    """Raise ShapeError for an image that would not fit into the machine's memory: its size is a typing error."""
    checked_count(shape, "resized image")


def resize_bilinear(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """`image` (C, H, W) resized to (C, height, width) in its dtype, without antialiasing.

    uint8 is computed in OpenCV's fixed point and equals its INTER_LINEAR in every pixel of images with 1, 3 or 4
    channels. Other types are computed in float32, and integers rounded. Raises ShapeError for an absurd size.
    """
    if image.shape[1:] == (height, width):
        return image
    check_resized(len(image), height, width)
    resize = _fixed_point if image.dtype == np.uint8 else _float
    return resize(image, height, width)


def _float(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    top, bottom, down = _weights(image.shape[1], height)
    left, right, across = _weights(image.shape[2], width)
    values = image.astype(np.float32)
    rows = values[:, top] * (1 - down)[:, None] + values[:, bottom] * down[:, None]
    result = rows[:, :, left] * (1 - across) + rows[:, :, right] * across
    return (np.rint(result) if image.dtype.kind in "ui" else result).astype(image.dtype)


def _weights(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each new position the indices of its two neighbours, and the weight of the second one."""
    at = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    first = at.astype(np.intp)
    return first, np.minimum(first + 1, old - 1), (at - first).astype(np.float32)


def _fixed_point(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`image` resized with the roundings of OpenCV 4: weights of 11 bits, 4 and 16 bits dropped in between."""
    if image.shape[1:] == (2 * height, 2 * width):  # OpenCV takes the mean of four
        pairs = image[:, ::2].astype(np.int32) + image[:, 1::2]
        return ((pairs[:, :, ::2] + pairs[:, :, 1::2] + 2) >> 2).astype(np.uint8)
    (top, bottom), (upper, lower) = _fixed_weights(image.shape[1], height, False)
    (left, right), (near, far) = _fixed_weights(image.shape[2], width, True)
    rows = image.take(left, axis=2) * near
    rows += image.take(right, axis=2) * far
    rows >>= 4
    sums = rows.take(top, axis=1)
    sums *= upper[:, None]
    sums >>= 16
    rest = rows.take(bottom, axis=1)
    rest *= lower[:, None]
    rest >>= 16
    sums += rest
    sums += 2
    sums >>= 2
    return sums.astype(np.uint8)


def _fixed_weights(
    old: int, new: int, whole_at_edges: bool
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """For each new position the indices of its neighbours, and their weights as multiples of 2^-11.

    whole_at_edges: outside of the first and last pixel one neighbour has all the weight (columns); else both are that
    pixel, with two weights, which are rounded apart (rows).
    """
    at = ((np.arange(new) + 0.5) * (1.0 / (new / old)) - 0.5).astype(np.float32)
    first = np.floor(at).astype(np.intp)
    second = at - first.astype(np.float32)
    if whole_at_edges:
        second[(first < 0) | (first >= old - 1)] = 0
    one = np.float32(1 << _BITS)
    shares = [np.rint(share * one).astype(np.int32) for share in (np.float32(1) - second, second)]
    return (np.clip(first, 0, old - 1), np.clip(first + 1, 0, old - 1)), (shares[0], shares[1])


def resize_nearest(labels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """`labels` (H, W) resized to (height, width) by the nearest element, as OpenCV's INTER_NEAREST takes it.

    Raises ShapeError for an absurd size.
    """
    check_resized(height, width)
    rows, columns = (
        np.minimum(nearest_before(old, new), old - 1) for old, new in zip(labels.shape, (height, width), strict=True)
    )
    resized: NDArray[Any] = labels[rows[:, None], columns]
    return resized


def nearest_before(old: int, new: int) -> NDArray[np.intp]:
    """For each new position the old one at or before it; the quotient is rounded as in OpenCV, at whole ones too."""
    found: NDArray[np.intp] = np.floor(np.arange(new) * (1 / (new / old))).astype(np.intp)
    return found


def scaled_size(height: int, width: int, shorter: int, longer: int) -> tuple[int, int, float]:
    """Height, width and factor of an image that is scaled as in py-faster-rcnn.

    The short side gets the length `shorter`, unless the long side then exceeds `longer`.
    """
    factor = shorter / min(height, width)
    if round(factor * max(height, width)) > longer:
        factor = longer / max(height, width)
    return max(1, round(factor * height)), max(1, round(factor * width)), factor
