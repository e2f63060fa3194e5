"""How OpenCV reads images of some formats, where Pillow reads them in another way."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "cmyk_as_colours",
    "gif_has_alpha",
    "gif_on_background",
    "high_bits",
    "inks_as_colours",
    "with_separate_alpha",
]

_EXTRA_SAMPLES = 338  # tag of TIFF
_UNRELATED = 2  # alpha that the colours are not multiplied by
_KINDS = {1: "B", 3: "H", 4: "I"}  # of a tag's value


def with_separate_alpha(content: bytes) -> tuple[bytes, int | None]:
    """A TIFF whose extra sample is read as it is stored, and what the file says of it; other content as it is.

    Pillow divides by it (1), skips it (0), or refuses it, by what the file says. OpenCV gives what is stored.
    """
    order = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}.get(content[:4])
    if order is None:
        return content, None
    big = b"+" in content[:4]  # BigTIFF: numbers of 64 bits
    start_at, offset, counts, entry = (8, "Q", "Q", "HHQ") if big else (4, "I", "H", "HHI")
    head, fields = struct.calcsize(f"{order}{counts}"), struct.Struct(f"{order}{entry}")
    size = fields.size + (8 if big else 4)
    try:
        (start,) = struct.unpack_from(f"{order}{offset}", content, start_at)
        (count,) = struct.unpack_from(f"{order}{counts}", content, start)
    except (struct.error, OverflowError):  # cut off
        return content, None
    for at in range(start + head, min(start + head + size * count, len(content) - size + 1), size):
        tag, kind, number = fields.unpack_from(content, at)
        if tag == _EXTRA_SAMPLES and number == 1 and kind in _KINDS:
            form, place = struct.Struct(order + _KINDS[kind]), at + fields.size
            (value,) = form.unpack_from(content, place)
            return content[:place] + form.pack(_UNRELATED) + content[place + form.size :], value
    return content, None


def gif_on_background(image: Any, frame: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """(H, W, 4): the first frame of a GIF in red, green, blue, alpha.

    frame: its left, top, right and bottom. What it leaves free or makes transparent has the colour of the background,
    which is black without a table of colours for all frames.
    """
    index = image.info.get("background")
    colour = [0, 0, 0]
    if index is not None:
        table = image.global_palette
        found = [index] * 3 if table is None else list(table.getdata()[1][3 * index : 3 * index + 3])
        colour = found if len(found) == 3 else colour
    pixels = np.array(image.convert("RGBA"))
    left, top, right, bottom = frame
    seen = np.zeros(pixels.shape[:2], bool)
    seen[top:bottom, left:right] = pixels[top:bottom, left:right, 3] > 0
    pixels[~seen] = [*colour, 0]
    return pixels


def gif_has_alpha(content: bytes) -> bool:
    """Whether any frame of a GIF has a transparent colour: then OpenCV gives the first one with alpha, 255 or not."""
    try:
        at = 13 + _table_size(content[10])
        while content[at] != 0x3B:  # the end
            if content[at : at + 2] == b"!\xf9" and content[at + 3] & 1:
                return True
            if content[at] == 0x21:  # an extension, else an image
                at += 2
            else:
                at += 11 + _table_size(content[at + 9])
            while size := content[at]:
                at += 1 + size
            at += 1
    except IndexError:  # cut off
        pass
    return False


def _table_size(packed: int) -> int:
    """Bytes of the table of colours that a byte of a GIF announces."""
    return 3 * 2 ** ((packed & 7) + 1) if packed & 0x80 else 0


def high_bits(pixels: NDArray[np.uint8], green: int) -> NDArray[np.uint8]:
    """(H, W, 3) of five bits, `green` of them for green, with zeros as low bits; Pillow stretches them to 255."""
    return pixels & np.array([0xF8, 0xFF & -(1 << (8 - green)), 0xF8], np.uint8)


def cmyk_as_colours(samples: NDArray[np.uint8], inverted: bool) -> NDArray[np.uint8]:
    """(H, W, 3) in red, green, blue, of a JPEG's (H, W, 4) in cyan, magenta, yellow, black.

    inverted: whether Pillow has inverted what is stored, as of Adobe's files. OpenCV takes what is stored for the light
    that each ink leaves, in every file, and rounds down.
    """
    light = (255 - samples if inverted else samples).astype(np.int32)
    black = light[:, :, 3:]
    return (black - ((255 - light[:, :, :3]) * black >> 8)).astype(np.uint8)


def inks_as_colours(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) in red, green, blue, of a TIFF's (H, W, 4) in cyan, magenta, yellow, black; libtiff rounds down."""
    light = (255 - samples).astype(np.uint16)
    return (light[:, :, :3] * light[:, :, 3:] // 255).astype(np.uint8)
