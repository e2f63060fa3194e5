"""Pictures of images with boxes, their classes and scores drawn into them."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dragon.errors import DataError
from dragon.files.atomic import write_atomically
from dragon.files.folders import make_folder
from dragon.files.reading import was_read
from dragon.pycaffe.images import read_image
from dragon.tools.common.images import class_text

__all__ = ["class_colour", "write_pictures"]

_SMALL = range(64, 161)  # pixels of the shorter side of an image that is enlarged; on smaller ones no word fits anyhow
_READABLE = 320  # pixels that the shorter side has then at least
_TURN = 0.618033988749895  # of the circle of hues from one class to the next: neighbours differ, and none comes twice


def class_colour(number: int) -> tuple[int, int, int]:
    """The colour (red, green, blue) of a class."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(number * _TURN % 1, 0.9, 0.95))
    return red, green, blue


def write_pictures(folder: str, files: Sequence[str], boxes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write a PNG file into `folder` for each of `files`, images, with those of `boxes` whose `file` it is; the paths.

    boxes: file, window (ymin, xmin, ymax, xmax), class, label, score. Pictures have the names of their images, with a
    number where a name comes twice; those of small images (up to 160 pixels high or wide) are enlarged by a whole
    number, for the words to fit. Raises DataError where a file cannot be read or written.
    """
    written: list[str] = []
    for file in dict.fromkeys(files):
        stem = Path(file).stem
        path, copy = Path(folder) / f"{stem}.png", 1
        while str(path) in written:
            copy += 1
            path = Path(folder) / f"{stem}-{copy}.png"
        if was_read(path) or (path.exists() and path.samefile(file)):
            raise DataError(f"{path} is an image that is read, and would be overwritten")
        content = _picture(file, [box for box in boxes if box["file"] == file])
        try:
            make_folder(path.parent)
            write_atomically(path, content)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from None
        written.append(str(path))
    return written


def _picture(file: str, boxes: Sequence[Mapping[str, Any]]) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.round(read_image(file) * 255).astype(np.uint8))
    times = -(-_READABLE // min(image.size)) if min(image.size) in _SMALL else 1
    image = image.resize((image.width * times, image.height * times), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    width = max(1, round(min(image.size) / 150))
    for box in sorted(boxes, key=lambda one: float(one["score"])):  # the surest one on top
        top, left, bottom, right = (times * end for end in box["window"])
        colour = class_colour(box["class"])
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=width)
        text = f"{class_text(box)} {box['score']:.2f}"
        _, _, wide, high = draw.textbbox((0, 0), text)
        x = max(0, min(left + width, image.width - wide))  # whole, where the image is large enough
        y = max(0, min(top + width, image.height - high))
        draw.rectangle((x, y, x + wide, y + high), fill=colour)
        draw.text((x, y), text, fill=(0, 0, 0) if sum(colour) > 380 else (255, 255, 255))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
