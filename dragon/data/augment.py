"""Random changes of single images in TRAIN: brightness, contrast, saturation, and a square that is cut out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import DataError

__all__ = ["Augmentation"]

_GREY = (0.114, 0.587, 0.299)  # luma of BT.601; channels are blue first
_CUTOUT_WORDS, _COLOUR_WORDS = 2, 3  # per image: the square's row and column; a factor for each colour setting


class Augmentation:
    """What `cutout`, `brightness`, `contrast` and `saturation` of transform_param do to an image.

    brightness, contrast, saturation: the largest change b of a factor, which is drawn evenly from [1 - b, 1 + b].
    cutout: the side of a square in pixels. Raises DataError for a change outside of [0, 1].
    """

    def __init__(self, cutout: int, brightness: float, contrast: float, saturation: float) -> None:
        for name, change in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            if not 0 <= change <= 1:
                raise DataError(f"transform_param: {name} must lie in [0, 1], got {change:g}")
        self._cutout = cutout
        self._changes = np.array([brightness, contrast, saturation])

    @property
    def cuts(self) -> bool:
        """Whether a square is cut out of images."""
        return self._cutout > 0

    @property
    def recolours(self) -> bool:
        """Whether colours are changed."""
        return bool(self._changes.any())

    @property
    def words(self) -> int:
        """Random words that an image takes."""
        return _CUTOUT_WORDS * self.cuts + _COLOUR_WORDS * self.recolours

    def check(self, channels: int) -> None:
        """Raise DataError for images whose number of channels the settings do not allow."""
        if self._changes[2] and channels != len(_GREY):
            raise DataError(f"saturation needs images of {len(_GREY)} channels, got {channels}")

    def recolour(self, image: NDArray[Any], words: NDArray[np.uint64], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The image (C, H, W), as floats, with factors from its `words` for brightness, contrast and saturation.

        Brightness multiplies all values, contrast the differences from the image's mean grey, saturation those from
        each pixel's grey, in this order. 8-bit images stay within 0 to 255.
        """
        most = 255 if image.dtype == np.uint8 else None
        made = image.astype(dtype)
        even = (words[-_COLOUR_WORDS:] >> np.uint64(11)) * 2.0**-53  # in [0, 1)
        for step, (change, place) in enumerate(zip(self._changes, even, strict=True)):
            if not change:
                continue
            centre: Any = 0 if step == 0 else _grey(made) if step == 2 else _grey(made).mean(dtype=np.float64)
            centre = np.asarray(centre, dtype)
            made = (made - centre) * dtype.type(1 + change * (2 * place - 1)) + centre
            if most is not None:
                np.clip(made, 0, most, out=made)
        return made

    def cut(self, image: NDArray[Any], words: NDArray[np.uint64]) -> None:
        """Set a square of a transformed image (C, h, w) to zero; its middle is a pixel that its `words` choose.

        Squares may reach over the edge (DeVries & Taylor 2017, arXiv 1708.04552).
        """
        area = [slice(None)]
        for size, word in zip(image.shape[1:], words[:_CUTOUT_WORDS].tolist(), strict=True):
            start = word % size - self._cutout // 2
            area.append(slice(max(start, 0), max(start + self._cutout, 0)))
        image[tuple(area)] = 0


def _grey(image: NDArray[Any]) -> NDArray[Any]:
    """Grey values (H, W): luma of three channels, else the mean of all."""
    if len(image) != len(_GREY):
        return np.asarray(image.mean(0, dtype=image.dtype))
    blue, green, red = (channel * image.dtype.type(weight) for channel, weight in zip(image, _GREY, strict=True))
    return np.asarray(blue + green + red)
