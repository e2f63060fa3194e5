"""Decodes image files to arrays; all images of the project are opened here.

Values are those of OpenCV's imread, which Caffe uses: the high byte of 16 bits (of a TIFF's colours rounded), blue
first, and turned as the camera noted (EXIF); no rounding and no turning where they are wanted as stored. Files of 12 or
32 bits and of floats are errors, as in OpenCV. An animation is its first frame; a PNG with a default image that is no
frame is that image, as in programs that know no animated PNG, such as OpenCV before 4.11.
"""

from __future__ import annotations

import enum
import io
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.cielab import D50, rgb_of_lab
from dragon.data.grey import grey_of
from dragon.data.image_quirks import (
    cmyk_as_colours,
    gif_has_alpha,
    gif_on_background,
    high_bits,
    inks_as_colours,
    with_separate_alpha,
)
from dragon.errors import DataError, one_line
from dragon.files.kinds import HEAD, kind_of_content
from dragon.files.reading import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Color", "decode_image", "encode_image", "image_content", "open_image", "sixteen_bits"]

# Formats that Pillow decodes itself. Others run programs (EPS starts Ghostscript) or are not images.
_FORMATS = ("JPEG", "PNG", "BMP", "PPM", "GIF", "TIFF", "WEBP", "JPEG2000", "DIB", "TGA", "SGI", "SUN", "PCX", "ICO")

# A header may claim any size. Deflate compresses at most 1,032 bytes to one; small images are always allowed.
_MAX_PIXELS_PER_BYTE = 1_100
_ALWAYS_ALLOWED = 1 << 24  # pixels, which take about 180 MB while they are decoded

_BITS, _PHOTOMETRIC, _WHITE_POINT = 258, 262, 318  # tags of TIFF
_ALPHA = 2  # an extra sample
_GREEN_BITS = {"BGR;15": 5, "BGR;16": 6}  # by Pillow's names of the pixels of a BMP
_WHITE_IS_ZERO = 0
_GREY = ("1", "L", "LA")  # modes without colours
_ORIENTATION = 0x0112  # tag of EXIF


class Color(enum.Enum):
    """The channels that encoded images are decoded to; raw Datums always keep theirs."""

    AS_STORED = "as stored"
    COLOR = "color"
    GRAY = "gray"


def image_content(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file. Raises OSError if it is not a regular file or cannot be read."""
    return read_bytes(path)


@contextmanager
def open_image(content: bytes) -> Iterator[Image]:
    """Open the content of an image file as a Pillow image.

    Raises ValueError for other files, and for more pixels than the bytes can hold. In the block Pillow's decoders may
    raise exceptions of any type.
    """
    import PIL
    import PIL.Image

    try:
        image = PIL.Image.open(io.BytesIO(content), formats=_FORMATS)
    except PIL.UnidentifiedImageError:
        kind = kind_of_content(content[:HEAD])
        if kind is not None and kind.endswith("image"):
            raise ValueError(f"it is {kind}, in a form that is not known") from None
        raise ValueError(f"it is {kind or 'no known image'}, expected one of {', '.join(_FORMATS)}") from None
    with image:
        if image.width * image.height > max(_ALWAYS_ALLOWED, _MAX_PIXELS_PER_BYTE * len(content)):
            raise ValueError(f"{image.width} x {image.height} pixels from {how_many(len(content), 'byte')}")
        yield image


def decode_image(content: bytes, color: Color = Color.AS_STORED) -> NDArray[np.uint8]:
    """Decode the content of an image file to (C, H, W) uint8: gray, BGR, or BGRA with alpha. Raises DataError."""
    try:
        content, extra = with_separate_alpha(content)
        with open_image(content) as image:
            if color is Color.GRAY:
                image.draft("L", image.size)  # the luma of a JPEG itself: that of its colours, once limited, is another
            pixels = np.asarray(_eight_bits(image, color, content, extra))
            if color is not Color.AS_STORED:
                pixels = _upright(pixels, _orientation(image))  # for which Pillow loads a PNG, and forgets its tiles
    except Exception as error:  # the decoders raise exceptions of many types
        raise DataError(f"the encoded image cannot be read: {one_line(str(error))}") from None
    if pixels.ndim == 2:
        return np.ascontiguousarray(pixels)[np.newaxis]
    blue_first = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    return np.ascontiguousarray(blue_first.transpose(2, 0, 1))


def sixteen_bits(image: Image, content: bytes) -> NDArray[np.uint16] | None:
    """(H, W, C) of a PNG or TIFF of 16 bits in colours, of which Pillow gives the high bytes; None for other images.

    Pillow decodes once more, with the bytes taken in the other order, for the low bytes.
    """
    if image.format not in ("PNG", "TIFF"):
        return None
    forms = [tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in getattr(image, "tile", ())]
    if not forms or not all(form.startswith("RGB") and form[-4:-1] == ";16" for form in forms):
        return None
    other = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    with open_image(content) as again:
        tiles: Any = again
        tiles.tile = [
            tile._replace(args=_with_form(tile.args, form[:-1] + other[form[-1]]))
            for tile, form in zip(tiles.tile, forms, strict=True)
        ]
        low = np.asarray(again, np.uint16)
    return (np.asarray(image, np.uint16) * np.uint16(256) + low).astype(np.uint16)


def _with_form(arguments: Any, form: str) -> Any:
    """The arguments of one of Pillow's decoders, with another form of the stored pixels."""
    return form if isinstance(arguments, str) else (form, *arguments[1:])


def encode_image(pixels: NDArray[np.uint8], kind: str, quality: int | None = None) -> bytes:
    """The content of an image file of (C, H, W) uint8: grey, or blue first.

    kind: "jpg" or "png". quality: of a JPEG, from 1 to 100; None: Pillow's default.
    """
    import PIL.Image

    image = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0))
    file = io.BytesIO()
    options = {} if quality is None else {"quality": quality}
    PIL.Image.fromarray(image).save(file, "JPEG" if kind == "jpg" else "PNG", **options)
    return file.getvalue()


def _orientation(image: Image) -> int:
    """How the camera was held, 1 to 8 as EXIF counts; 1, upright, where the file does not say."""
    if image.format not in ("JPEG", "PNG", "WEBP"):  # Pillow turns TIFF itself; OpenCV looks for EXIF in no other
        return 1
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF, which OpenCV skips
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Pixels (H, W) or (H, W, C) with row and column 0 where EXIF's orientation says that they are seen."""
    if orientation >= 5:  # rows are seen as columns
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _eight_bits(image: Image, color: Color, content: bytes, extra: int | None) -> Image:
    """The image in mode L, RGB or RGBA. extra: what a TIFF says of its fourth sample, see `with_separate_alpha`."""
    import PIL.Image

    stored_mode, in_tiff = image.mode, image.format == "TIFF"
    kind, info = image.format, image.info
    has_alpha = stored_mode == "RGBA" or (stored_mode in ("LA", "PA") and not in_tiff)
    highest, tiles = _highest_value(image), getattr(image, "tile", ())
    if color is not Color.AS_STORED and (whole := sixteen_bits(image, content)) is not None:
        image = PIL.Image.fromarray(_eight_of_sixteen(whole, color, in_tiff, image.info))
    if stored_mode == "LAB":
        image = PIL.Image.fromarray(rgb_of_lab(np.asarray(image), _white(image)))
    elif image.mode.startswith("I") or image.mode == "F":
        image = PIL.Image.fromarray(_high_bytes(image, highest))
    elif image.mode == "RGB" and tiles and tiles[0][0] == "ppm" and highest > 255:
        image = PIL.Image.fromarray(_high_bytes_of_colours(content, tiles[0][2], (image.height, image.width, 3)))
    elif highest < 255:
        flat = image.convert("L" if image.mode == "L" else "RGB")
        image = PIL.Image.fromarray(_rounded(np.asarray(flat) * (highest / 255)))
    elif stored_mode == "RGBA" and in_tiff and _is_times_alpha(image, color, extra):
        image = PIL.Image.merge("RGBA", image.convert("RGBa").split())
    elif image.format == "GIF" and tiles:
        has_alpha, stored_mode = gif_has_alpha(content), "RGB"
        image = PIL.Image.fromarray(gif_on_background(image, tiles[0][1]))
    elif image.mode in ("P", "RGB") and "transparency" in image.info:
        has_alpha = image.format == "PNG"
        image = image.convert("RGBA")
    elif image.format == "BMP" and tiles and (green := _GREEN_BITS.get(tiles[0][3][0])):
        image = PIL.Image.fromarray(high_bits(np.asarray(image.convert("RGB")), green))
    elif stored_mode == "CMYK" and image.format == "JPEG" and tiles:
        image = PIL.Image.fromarray(cmyk_as_colours(np.asarray(image), tiles[0][3][0] == "CMYK;I"))
    elif stored_mode == "YCbCr":  # whose luma is not that of colours which were limited
        image = image.convert("RGB")
    elif stored_mode == "CMYK" and in_tiff:
        has_alpha, image = True, PIL.Image.fromarray(inks_as_colours(np.asarray(image)))  # OpenCV adds an alpha of 255
    stored = "L" if image.mode in ("1", "L") or (stored_mode == "LA" and in_tiff) else "RGBA" if has_alpha else "RGB"
    if color is Color.GRAY and image.mode not in _GREY:
        return PIL.Image.fromarray(grey_of(np.asarray(image.convert("RGB")), kind, info))
    return image.convert({Color.GRAY: "L", Color.COLOR: "RGB", Color.AS_STORED: stored}[color])


def _eight_of_sixteen(
    values: NDArray[np.uint16], color: Color, in_tiff: bool, info: Mapping[Any, Any]
) -> NDArray[np.uint8]:
    """(H, W, C) of 8 bits, or the grey (H, W) of a PNG, which libpng computes of 16 bits; libtiff rounds instead."""
    if in_tiff:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if color is Color.GRAY:
        values = grey_of(values[:, :, :3], "PNG", info)
    return (values >> 8).astype(np.uint8)


def _is_times_alpha(image: Image, color: Color, extra: int | None) -> bool:
    """Whether OpenCV gives the colours of a TIFF (RGBA) times alpha: where the file says that this is alpha.

    Its own files do not. Those of 16 bits it gives as they are stored, if that is asked for.
    """
    whole = color is Color.AS_STORED and max(getattr(image, "tag_v2", {}).get(_BITS, (8,))) > 8
    return extra == _ALPHA and not whole


def _white(image: Image) -> tuple[float, float]:
    """X and Z of the white that a TIFF names, of which Y is 100. Raises ValueError for a point that is no colour."""
    given = getattr(image, "tag_v2", {}).get(_WHITE_POINT)
    if given is None:
        return D50
    x, y = map(float, given)
    if not (0 < x < 1 and 0 < y < 1):
        raise ValueError(f"its white point is ({x:g}, {y:g}), expected numbers between 0 and 1")
    return 100 * x / y, 100 * (1 - x - y) / y


def _high_bytes(image: Image, highest: int) -> NDArray[np.uint8]:
    """The high bytes (H, W) of a one-channel image of 16 bits. Raises ValueError for other depths."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS, (16,)))
    if bits != 16 or (image.mode == "F" and image.format != "PPM"):
        kind = "float" if image.mode == "F" else f"{bits}-bit"
        raise ValueError(f"it has {kind} values; expected 8 or 16 bits, as OpenCV does")
    values = np.asarray(image)
    if image.mode == "F":
        return _rounded(values)
    if highest < 65535:
        values = np.rint(values * (highest / 65535))
    whole = values.astype(np.int64) & 0xFFFF
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        whole = 0xFFFF - whole
    return (whole >> 8).astype(np.uint8)


def _high_bytes_of_colours(content: bytes, offset: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The high bytes (H, W, 3) of a binary PPM file of 16 bits, which Pillow rounds instead. Raises ValueError."""
    size = 2 * math.prod(shape)
    if len(content) < offset + size:
        raise ValueError("it ends before its last pixel")
    return np.frombuffer(content, np.uint8, size, offset)[::2].reshape(shape)


def _highest_value(image: Image) -> int:
    """The maximum value of a PGM or PPM file, which Pillow stretches to the full range, unlike OpenCV.

    65535 for files that are not stretched.
    """
    tiles = getattr(image, "tile", ())
    arguments = tiles[0][3] if tiles and image.format == "PPM" else None
    if isinstance(arguments, tuple) and len(arguments) == 2:
        return int(arguments[1])
    return 65535


def _rounded(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8)
    return rounded
