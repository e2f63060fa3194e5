"""The grey of colours as OpenCV computes it, which is another in each format of files.

libpng rounds down, and makes the values linear before it adds them where a PNG names a gamma (gAMA or sRGB). OpenCV's
own readers round, with weights of 14 or 15 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["grey_of"]

_OWN = (14, (4899, 9617, 1868))  # bits, and weights of red, green and blue: BMP, PPM, TIFF, CMYK
_CONVERTED = (15, (9798, 19235, 3735))  # of cvtColor
_WAYS = {"GIF": _CONVERTED, "WEBP": _CONVERTED, "JPEG2000": _CONVERTED}
_PNG = (15, (9797, 19234, 3737))
_SRGB = 0.45455
_INTENTS = range(4)  # of sRGB
_LINEAR = 0.05  # libpng takes a gamma as close to 1 for 1
_LINEAR_BITS = 11  # of values of 16 bits that libpng makes linear


def grey_of(colours: NDArray[Any], kind: str | None, info: Mapping[Any, Any]) -> NDArray[Any]:
    """Grey (H, W) of red, green and blue (H, W, 3) in their type, uint8, or uint16 of a PNG.

    kind: the format of the file, as Pillow names it. info: what Pillow found in it.
    """
    bits, weights = _PNG if kind == "PNG" else _WAYS.get(kind or "", _OWN)
    if kind != "PNG":
        return _weighted(colours, weights, bits, 1 << (bits - 1))
    gamma = _SRGB if info.get("srgb") in _INTENTS else info.get("gamma") or 1.0
    wide = colours.dtype == np.uint16
    if not any(map(_counts, (gamma, 1 / gamma))):
        return _weighted(colours, weights, bits, 1 << (bits - 1) if wide else 0)
    linear, back = _table(1 / gamma, wide), _table(gamma, wide)
    shift = 16 - _LINEAR_BITS if wide else 0
    grey = back[_weighted(linear[colours >> shift], weights, bits, 1 << (bits - 1)) >> shift]
    same = colours[..., 0]  # libpng rounds greys to 8 bits, and does nothing else to them
    if wide:
        most = (1 << _LINEAR_BITS) - 1
        ends = ((257 * np.arange(255) + 128) * most + (1 << 15)) // 65535
        same = np.searchsorted(ends, same >> shift) << 8
    return np.where((colours == colours[..., :1]).all(-1), same, grey).astype(colours.dtype)


def _weighted(colours: NDArray[Any], weights: tuple[int, ...], bits: int, half: int) -> NDArray[Any]:
    total = colours.astype(np.uint32) @ np.array(weights, np.uint32)
    grey: NDArray[Any] = ((total + np.uint32(half)) >> np.uint32(bits)).astype(colours.dtype)
    return grey


def _counts(gamma: float) -> bool:
    """Whether libpng does not take a gamma for 1."""
    return round(abs(gamma - 1), 5) > _LINEAR


def _table(exponent: float, wide: bool) -> NDArray[Any]:
    """Each value, of 0 to 1, to the power of `exponent`: of bytes, or of the high bits of 16."""
    if not _counts(exponent):
        exponent = 1
    count, kind = (1 << _LINEAR_BITS, np.uint16) if wide else (256, np.uint8)
    values = (np.arange(count) / (count - 1)) ** exponent
    return np.floor(values * np.iinfo(kind).max + 0.5).astype(kind)
