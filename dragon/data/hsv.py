"""Colours of 8-bit images as hue, saturation and value in OpenCV's ranges: hue in half degrees, 0 to 179.

Results differ from OpenCV's by at most one level, which computes them by tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_hsv", "to_hsv"]

Image = NDArray[Any]


def to_hsv(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hue, saturation and value (3, H, W) of an image (3, H, W) whose first channel is blue."""
    blue, green, red = image.astype(np.float32)
    value = np.maximum(np.maximum(blue, green), red)
    spread = value - np.minimum(np.minimum(blue, green), red)
    scale = np.float32(30) / np.where(spread > 0, spread, np.float32(1))
    hue = np.where(
        value == red,
        (green - blue) * scale,
        np.where(value == green, (blue - red) * scale + 60, (red - green) * scale + 120),
    )
    hue = np.rint(hue)
    hue[hue < 0] += 180
    saturation = spread * np.float32(255) / np.where(value > 0, value, np.float32(1))
    return np.stack([hue, np.rint(saturation), value]).astype(np.uint8)


def from_hsv(hsv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image (3, H, W), blue first, of hue, saturation and value; hues from 180 on begin anew."""
    hue, saturation, value = hsv.astype(np.float32)
    saturation *= np.float32(1 / 255)
    sector = hue * np.float32(1 / 30)
    channels = []
    for start in (1, 3, 5):  # blue, green, red
        place = (sector + np.float32(start)) % np.float32(6)
        weight = np.clip(np.minimum(place, 4 - place), 0, 1)
        channels.append(value - value * saturation * weight)
    image: NDArray[np.uint8] = np.rint(np.stack(channels)).astype(np.uint8)
    return image
