"""Files of detected boxes, as SSD's DetectionOutput writes them for the evaluation programs of VOC, COCO and ILSVRC."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dragon.counting import how_many
from dragon.errors import DataError, NumericError, PrototxtError, nearest
from dragon.files.atomic import write_atomically
from dragon.files.folders import make_folder
from dragon.files.names import file_names
from dragon.files.reading import read_text, was_read
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import read_message

__all__ = ["DetectionFiles", "names_and_sizes", "original_boxes"]

FORMATS = ("VOC", "COCO", "ILSVRC")


class DetectionFiles:
    """Collects the boxes of `num_test_image` images, writes them to files, and starts again.

    VOC: a file PREFIX + class + .txt for each class, lines "image score xmin ymin xmax ymax". ILSVRC: one file
    PREFIX.txt, lines "image label score xmin ymin xmax ymax". COCO: one file PREFIX.json, a list of objects with
    image_id, category_id, bbox (x, y, width, height) and score. Coordinates are pixels of the original images, whose
    names and sizes are the lines "name height width" of name_size_file. Raises PrototxtError for bad settings,
    DataError for files that cannot be read or written, NumericError for boxes that are NaN.
    """

    def __init__(self, param: pb.SaveOutputParameter, background: int, find: Callable[[str], str]) -> None:
        if param.output_format not in FORMATS:
            raise PrototxtError(
                f'output_format is one of {", ".join(FORMATS)}, got "{param.output_format}"'
                + nearest(param.output_format, FORMATS)
            )
        self._param = param
        labels = read_message(find(param.label_map_file), pb.LabelMap())
        self._labels = {item.label: item.name for item in labels.item}
        self._classes = [name for label, name in self._labels.items() if label != background]
        self._images = names_and_sizes(find(param.name_size_file))
        self._total: int = param.num_test_image or len(self._images)
        if self._total > len(self._images):
            raise DataError(
                f"{param.name_size_file} names {how_many(len(self._images), 'image')}, num_test_image is {self._total}"
            )
        self._seen = 0
        self._found: list[tuple[str, int, float, list[float]]] = []
        try:
            make_folder(param.output_directory)
        except OSError as error:
            raise DataError(f"{param.output_directory}: cannot be made: {error.strerror}") from None

    @property
    def pending(self) -> str:
        """The images that were collected and not written yet, in words; "" if there are none."""
        return f"{self._seen} of {how_many(self._total, 'image')}" if self._seen else ""

    def add(self, rows: Sequence[Array]) -> None:
        """Add the boxes of the next image: rows item, label, score, xmin, ymin, xmax, ymax in fractions of its size."""
        name, size = self._images[self._seen]
        for row in rows:
            label = int(row[1])
            if label not in self._labels:
                raise DataError(f"{self._param.label_map_file} has no label {label}")
            resize = self._param.resize_param if self._param.HasField("resize_param") else None
            xmin, ymin, xmax, ymax = original_boxes(np.asarray(row[3:7], np.float64), size, resize)
            box = [round(float(v), 2) for v in (xmin, ymin, xmax - xmin, ymax - ymin)]
            if not np.isfinite(box).all():
                raise NumericError(f'a box found in image "{name}" is not finite')
            self._found.append((name, label, float(np.float32(row[2])), box))
        self._seen += 1
        if self._seen == self._total:
            self._write()
            self._found.clear()
            self._seen = 0

    def _write(self) -> None:
        start = str(Path(self._param.output_directory) / "_")[:-1] + self._param.output_name_prefix
        if self._param.output_format == "COCO":
            objects = [
                {"image_id": _number(name), "category_id": _number(self._labels[label]), "bbox": box, "score": score}
                for name, label, score, box in self._found
            ]
            self._put(f"{start}.json", "[\n" + ",\n".join(json.dumps(o) for o in objects) + "\n]\n")
        elif self._param.output_format == "ILSVRC":
            lines = [f"{name} {label} {score:g} {_corners(box)}\n" for name, label, score, box in self._found]
            self._put(f"{start}.txt", "".join(lines))
        else:
            by_class: dict[str, list[str]] = {name: [] for name in self._classes}
            for name, label, score, box in self._found:
                by_class.setdefault(self._labels[label], []).append(f"{name} {score:g} {_corners(box)}\n")
            name_of = file_names(by_class)
            for kind, lines in by_class.items():
                self._put(f"{start}{name_of[kind]}.txt", "".join(lines))

    def _put(self, path: str, text: str) -> None:
        if was_read(path):
            raise DataError(f"{path} is a file that is read as well, and would be overwritten")
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def original_boxes(box: Array, size: tuple[int, int], resize: pb.ResizeParameter | None) -> Array:
    """(..., 4): xmin, ymin, xmax, ymax in pixels of an image of `size` (height, width), clipped to it.

    box (..., 4): fractions of the input of the net. resize: how the image was resized to that input; with
    FIT_LARGE_SIZE_AND_PAD it was scaled to fit and padded on both sides, with FIT_SMALL_SIZE and `height_scale` and
    `width_scale` these are the size that boxes are fractions of, otherwise the image fills the input. Raises
    PrototxtError for a resize_param without height and width.
    """
    height, width = size
    scale = np.array([width, height, width, height], np.float64)
    mode = None if resize is None else resize.resize_mode
    if resize is not None and mode == pb.ResizeParameter.FIT_SMALL_SIZE and resize.height_scale and resize.width_scale:
        part: Array = (box * np.array([resize.width_scale, resize.height_scale] * 2, np.float64)).clip(0, scale)
        return part
    if resize is None or resize.resize_mode != pb.ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        clipped: Array = box.clip(0, 1) * scale
        return clipped
    input_size = np.array([resize.width, resize.height], np.float64)
    if not input_size.all():
        raise PrototxtError("save_output_param's resize_param needs height and width")
    ratio = (input_size / [width, height]).min()
    margin = (input_size - ratio * np.array([width, height])) / 2
    found: Array = ((box * np.tile(input_size, 2) - np.tile(margin, 2)) / ratio).clip(0, scale)
    return found


def names_and_sizes(path: str) -> list[tuple[str, tuple[int, int]]]:
    """Names and sizes (height, width) of images, from the lines "name height width" of a file. Raises DataError."""
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'name_size_file "{path}" cannot be read: {error}') from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, height, width = line.split()
            size = int(height), int(width)
            if min(size) < 1:
                raise ValueError
            found.append((name, size))
        except ValueError:
            raise DataError(f'{path}:{number}: expected "name height width", got "{line.strip()[:60]}"') from None
    if not found:
        raise DataError(f"{path}: holds no line")
    return found


def _corners(box: list[float]) -> str:
    """The corners "xmin ymin xmax ymax" in whole pixels, as the evaluation programs expect them."""
    x, y, width, height = (int(v) for v in box)
    return f"{x} {y} {x + width} {y + height}"


def _number(text: str) -> int | str:
    """A name as a number where it is one, as COCO's images and classes are."""
    return int(text) if text.isdecimal() and str(int(text)) == text else text
