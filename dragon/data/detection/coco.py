"""Annotations in the form of COCO: one file of instances for many images, and SSD's files of one image."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dragon.data.detection.annotations import Described, Object
from dragon.errors import DataError, one_line
from dragon.files.reading import read_text

__all__ = ["Instances", "read_coco", "read_coco_image"]

T = TypeVar("T")


@dataclass(frozen=True)
class Instances:
    """A COCO file: (file name, objects) of each image in its order, and (id, name) of each class by id.

    Objects name their class by the id, as text.
    """

    images: tuple[tuple[str, Described], ...]
    categories: tuple[tuple[int, str], ...]


def read_coco(path: str | Path) -> Instances:
    """Read a file of instances. Raises DataError."""
    return _read(path, _instances)


def read_coco_image(path: str | Path) -> Described:
    """Read the annotations of one image, as SSD's scripts split COCO's files: `image` and `annotation`.

    Raises DataError.
    """
    return _read(path, lambda found: _described(found.get("image", {}), found["annotation"]))


def _read(path: str | Path, take: Callable[[Any], T]) -> T:
    try:
        found = json.loads(read_text(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {one_line(str(error))}") from None
    try:
        return take(found)
    except KeyError as error:
        raise DataError(f"{path}: has no {error.args[0]}, which COCO's files have") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: not in the form of COCO: {one_line(str(error))}") from None


def _instances(found: Any) -> Instances:
    by_image: dict[Any, list[Any]] = {}
    for one in found["annotations"]:
        by_image.setdefault(one["image_id"], []).append(one)
    images = tuple((str(one["file_name"]), _described(one, by_image.get(one["id"], []))) for one in found["images"])
    categories = sorted((int(one["id"]), str(one["name"])) for one in found["categories"])
    return Instances(images, tuple(categories))


def _described(image: Any, annotations: Any) -> Described:
    width, height = (int(image.get(side) or 0) for side in ("width", "height"))
    objects = []
    for one in annotations:
        with np.errstate(over="ignore", invalid="ignore"):  # a box without end is refused with its file
            x, y, wide, high = (np.float32(value) for value in one["bbox"])  # the fork adds in 32 bits
            box = (float(x), float(y), float(x + wide), float(y + high))
        objects.append(Object(str(one["category_id"]), box, int(one.get("iscrowd") or 0) != 0))
    return Described(tuple(objects), width if width > 0 else None, height if height > 0 else None)
