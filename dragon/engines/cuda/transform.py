"""Launches transform.cu: a batch of 8-bit images becomes a blob without the host touching a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.engines.cuda.device import Device

__all__ = ["places_of", "transform"]

NO_MEAN, BY_CHANNEL, BY_PIXEL = 0, 1, 2


def transform(device: Device, images: Any, places: Any, mean: Any, scale: float, out: Any) -> None:
    """out (N, C, h, w) = (images - mean) * scale, from a window of each image.

    images (N, C, H, W) of uint8; places (N, 3) of int32: mirror (0 or 1), first row and first column of each window.
    mean: None, (1,) or (C,) for channels, or (C, H, W). All on the device; the windows must lie inside the images.
    """
    _, c, height, width = images.shape
    kind = NO_MEAN if mean is None else BY_CHANNEL if mean.ndim == 1 else BY_PIXEL
    device.launch(
        "transform", "transform", out.dtype, device.grid(out.size), images, places, mean, out, out.size, c, height,
        width, out.shape[2], out.shape[3], kind, mean.size if kind == BY_CHANNEL else 1, float(scale),
    )  # fmt: skip


def places_of(flips: NDArray[np.bool_], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.int32]:
    """What Transformer draws for a batch, as `transform` takes it."""
    return np.stack([flips, rows, columns], axis=1).astype(np.int32)
