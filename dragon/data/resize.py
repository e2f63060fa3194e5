"""Resizing of images as in OpenCV: bilinear with pixel centres at half integers, not antialiased, or nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["resize_bilinear", "resize_nearest"]


def resize_bilinear(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """`image` (C, H, W) resized to (C, height, width) in its dtype; integer types are rounded."""
    if image.shape[1:] == (height, width):
        return image
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


def resize_nearest(labels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """`labels` (H, W) resized to (height, width) by the nearest element, as OpenCV's INTER_NEAREST takes it."""
    rows, columns = (
        np.minimum((np.arange(new) * (old / new)).astype(np.intp), old - 1)
        for old, new in zip(labels.shape, (height, width), strict=True)
    )
    resized: NDArray[Any] = labels[rows[:, None], columns]
    return resized
