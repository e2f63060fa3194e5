"""Image files as pycaffe reads them: float arrays (H, W, K) from 0 to 1, RGB or grey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dragon.errors import ImageFileError, MissingImageError
from dragon.pycaffe.resizing import Image

__all__ = ["load_image", "read_image"]

_SCIKIT_IMAGE = (0.2125, 0.7154, 0.0721)  # what red, green and blue count in its rgb2gray (ITU-R BT.709)


def load_image(filename: str | Path | BinaryIO, color: bool = True) -> Image:
    """An image file as (H, W, 3) RGB, or (H, W, 1) with color=False; alpha is dropped. DataError if unreadable.

    filename: also a file that is open for reading bytes. Grey is computed of colours as in pycaffe, whose weights of
    red, green and blue are scikit-image's; data layers have OpenCV's.
    """
    return read_image(filename, color, _SCIKIT_IMAGE)


def read_image(source: str | Path | BinaryIO, color: bool = True, weights: Sequence[float] | None = None) -> Image:
    """As `load_image`. weights: what red, green and blue count in grey; None: as in data layers, rounded to bytes."""
    from dragon.data.grey import grey_of
    from dragon.data.image_file import image_content, open_image, sixteen_bits
    from dragon.data.image_quirks import with_separate_alpha

    try:
        content = image_content(source) if isinstance(source, (str, Path)) else source.read()
        content, _ = with_separate_alpha(content)
        with open_image(content) as image:
            whole = sixteen_bits(image, content) if weights is not None else None
            if whole is not None:
                pixels: NDArray[Any] = whole[..., :3].astype(np.float32) / 65535
                if not color:
                    pixels = pixels @ np.asarray(weights, np.float32)
            elif image.mode.startswith("I") or image.mode == "F":  # 16 bits a pixel
                grey = np.asarray(image, np.float32) / (65535 if image.mode.startswith("I") else 1)
                pixels = np.repeat(grey[..., None], 3, axis=2) if color else grey
            else:
                if image.mode == "P" and "transparency" in image.info:
                    image = image.convert("RGBA")
                if not color and weights is None:
                    image.draft("L", image.size)  # the luma of a JPEG itself
                weighted = not color and image.mode not in ("1", "L", "LA")
                stored = np.asarray(image.convert("RGB" if color or weighted else "L"))
                if weighted and weights is None:
                    stored = grey_of(stored, image.format, image.info)
                pixels = stored.astype(np.float32) / 255
                if weighted and weights is not None:
                    pixels = pixels @ np.asarray(weights, np.float32)
    except Exception as error:  # Pillow's decoders raise errors of any type
        reason = getattr(error, "strerror", None) or error
        kind = MissingImageError if isinstance(error, FileNotFoundError) else ImageFileError
        name = source if isinstance(source, (str, Path)) else getattr(source, "name", "of a file object")
        raise kind(f"image {name} cannot be read: {reason}") from None
    return pixels.astype(np.float32) if pixels.ndim == 3 else pixels[..., None].astype(np.float32)
