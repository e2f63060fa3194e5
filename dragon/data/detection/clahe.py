"""Contrast-limited adaptive histogram equalisation (Zuiderveld 1994), as OpenCV does it with 8 x 8 tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["clahe"]

_TILES, _LEVELS = 8, 256


def clahe(grey: NDArray[np.uint8], limit: float) -> NDArray[Any]:
    """The grey values (H, W) with an even histogram around each place, as floats of 0 to 255.

    limit: of the counts of a histogram, in parts of the count that each level has in an even one. What is above it is
    spread over all levels. Each of 8 x 8 tiles has a curve; a pixel takes it from the four nearest ones.
    """
    height, width = grey.shape
    whole = grey
    if height % _TILES or width % _TILES:  # both sides grow, also one that fits, as in OpenCV
        rest = [(0, _TILES - size % _TILES) for size in grey.shape]
        whole = np.pad(grey, rest, mode="reflect")
    high, wide = (size // _TILES for size in whole.shape)
    curves = _curves(whole, high, wide, limit)
    (top, bottom, down), (left, right, across) = _nearest(height, high), _nearest(width, wide)
    upper, lower = (
        curves[row[:, None], left, grey] * (1 - across) + curves[row[:, None], right, grey] * across
        for row in (top, bottom)
    )
    found: NDArray[Any] = np.rint(upper * (1 - down)[:, None] + lower * down[:, None]).clip(0, _LEVELS - 1)
    return found


def _curves(grey: NDArray[np.uint8], high: int, wide: int, limit: float) -> NDArray[np.float32]:
    """The new value of each level (8, 8, 256) in each tile of this size."""
    tiles = grey.reshape(_TILES, high, _TILES, wide).swapaxes(1, 2).reshape(_TILES * _TILES, high * wide)
    first = np.arange(len(tiles))[:, None] * _LEVELS
    counts = np.bincount((tiles + first).ravel(), minlength=len(tiles) * _LEVELS).reshape(-1, _LEVELS)
    most = max(1, int(limit * high * wide / _LEVELS))
    excess = np.maximum(counts - most, 0).sum(axis=1)
    counts = np.minimum(counts, most) + (excess // _LEVELS)[:, None]
    for count, left in zip(counts, (excess % _LEVELS).tolist(), strict=True):
        if left:
            count[:: max(1, _LEVELS // left)][:left] += 1
    scale = np.float32(_LEVELS - 1) / np.float32(high * wide)
    values: NDArray[np.float32] = np.rint(np.cumsum(counts, axis=1).astype(np.float32) * scale).clip(0, _LEVELS - 1)
    return values.reshape(_TILES, _TILES, _LEVELS)


def _nearest(size: int, tile: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each place along an axis the tiles before and behind it, and the weight of the latter."""
    place = np.arange(size, dtype=np.float32) * np.float32(1 / tile) - np.float32(0.5)
    before = np.floor(place).astype(np.intp)
    return np.maximum(before, 0), np.minimum(before + 1, _TILES - 1), (place - before).astype(np.float32)
