"""Reads window files (R-CNN), which list boxes of objects and background in images, and crops the boxes.

Each image is a block of lines: "# INDEX", path, channels, height, width, number of windows, then for each window
"CLASS OVERLAP X1 Y1 X2 Y2" with inclusive corners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.lists import read_lines
from dragon.data.resize import resize_bilinear
from dragon.errors import DataError

__all__ = ["Window", "crop_window", "read_windows"]


@dataclass(frozen=True)
class Window:
    """A box in image `path`: class, overlap with the ground truth, inclusive corners (x1, y1, x2, y2) in pixels."""

    path: str
    channels: int
    label: int
    overlap: float
    box: tuple[int, int, int, int]


def read_windows(path: str) -> list[Window]:
    """All windows of a window file. Raises DataError with the line number."""
    numbered = read_lines(path, "window file", 'that begin with "# INDEX"', "holds no windows")
    lines = [line for _, line in numbered]
    found: list[Window] = []
    at = 0
    try:
        while at < len(lines):
            if not lines[at].startswith("#"):
                raise ValueError
            image, channels, count = lines[at + 1], int(lines[at + 2]), int(lines[at + 5])
            at += 6
            for _ in range(count):
                label, overlap, *corners = lines[at].split()
                x1, y1, x2, y2 = map(_int32, corners)
                found.append(Window(image, channels, _int32(label), float(overlap), (x1, y1, x2, y2)))
                at += 1
    except (ValueError, IndexError):
        shown = f'"{lines[at]}"' if at < len(lines) else "the end of the file"
        number = numbered[at][0] if at < len(lines) else numbered[-1][0] + 1
        raise DataError(f"{path}:{number}: not a window file: {shown} was not expected here") from None
    if not found:
        raise DataError(f'window file "{path}" holds no windows')
    return found


def crop_window(
    image: NDArray[Any], box: tuple[int, int, int, int], size: int, context: int, square: bool, mirror: bool
) -> tuple[NDArray[Any], int, int]:
    """Crop a box of `image` (C, H, W) and warp it for an input of size x size; returns it with its position there.

    context: pixels of the input around the box. square: crop the smallest square around the box. mirror: flip it. Parts
    outside of the image are left out, so the position (row, column) need not be (0, 0). Raises DataError for a box
    outside of the image or without pixels.
    """
    x1, y1, x2, y2 = box
    if x2 < x1 or y2 < y1:
        raise DataError(f"window {box} has no pixels: its corners are x1, y1, x2, y2, inclusive")
    row = column = 0
    height = width = size
    if context or square:
        f = np.float32  # of which some products lie on the other side of a half than those of float64
        scale = f(size) / f(size - 2 * context)
        half_h, half_w = f(y2 - y1 + 1) / f(2), f(x2 - x1 + 1) / f(2)
        center_x, center_y = f(x1) + half_w, f(y1) + half_h
        if square:
            half_h = half_w = max(half_h, half_w)
        x1, x2 = _round(center_x - half_w * scale), _round(center_x + half_w * scale)
        y1, y2 = _round(center_y - half_h * scale), _round(center_y + half_h * scale)
        down, across = f(size) / f(y2 - y1 + 1), f(size) / f(x2 - x1 + 1)
        left, top = max(0, -x1), max(0, -y1)
        right, bottom = max(0, x2 - image.shape[2] + 1), max(0, y2 - image.shape[1] + 1)
        x1, x2, y1, y2 = x1 + left, x2 - right, y1 + top, y2 - bottom
        row, column = _round(f(top) * down), _round(f(right if mirror else left) * across)
        height = min(_round(f(y2 - y1 + 1) * down), size - row)
        width = min(_round(f(x2 - x1 + 1) * across), size - column)
    part = image[:, max(0, y1) : y2 + 1, max(0, x1) : x2 + 1]
    if not part.size or height < 1 or width < 1:
        raise DataError(f"window {box} lies outside of its image of shape {image.shape}")
    warped = resize_bilinear(part, height, width)
    return (warped[:, :, ::-1] if mirror else warped), row, column


def _int32(text: str) -> int:
    """The integer in `text`. Raises ValueError unless it has 32 bits at most, as Caffe's do."""
    value = int(text)
    if not -(2**31) <= value < 2**31:
        raise ValueError
    return value


def _round(x: np.float32) -> int:
    """The nearest integer, as C's round: of two, the one that is further from 0."""
    return math.floor(float(x) + 0.5) if x >= 0 else math.ceil(float(x) - 0.5)
