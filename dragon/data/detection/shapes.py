"""Draws images with boxes: shapes of several sizes on textures, for detectors.

A shape's box is exact: the edges of the pixels that it covers at least half. Shapes may reach over the edge of the
image and hide a little of each other. Marked as difficult are shapes with little contrast, and crowds: many small
shapes of a class in one box.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.annotations import Object
from dragon.data.detection.painting import Box, Plane, apart, box_of, is_free, textured
from dragon.data.detection.written import Picture, write_detection_set
from dragon.data.drawn import Drawn
from dragon.data.progress import Progress, silent
from dragon.data.synthetic import shape_distance
from dragon.errors import DataError

__all__ = ["CLASSES", "draw_shapes", "write_shapes"]

CLASSES = ("disc", "ring", "square", "triangle", "cross")
_SIDES = (96, 112, 128)  # of an image; width and height are drawn apart
_RADII = (7.0, 34.0)  # of a shape, in pixels
_MOST = 4  # shapes of an image
_TRIES = 20  # to find a free place
_FAINT, _CROWD = 0.06, 0.05  # how often a shape is faint, or a crowd
_CONTRAST, _LITTLE = (70.0, 150.0), (12.0, 22.0)  # distance of colours in grey levels, of usual and of faint shapes


def write_shapes(
    folder: str | os.PathLike[str], train: int = 2000, test: int = 500, seed: int = 1, progress: Progress = silent
) -> Drawn:
    """Write shapes_train_lmdb and shapes_test_lmdb, and the same as VOC and COCO, to `folder`. Raises DataError.

    train, test: numbers of images.
    """
    if min(train, test) < 1:
        raise DataError(f"a set of shapes needs at least one image in each part, got {train} and {test}")
    counts = {"train": train, "test": test}
    facts = {"synthetic": True, "seed": seed, "sides": list(_SIDES)}

    def draw(part: str) -> Iterator[Picture]:
        return draw_shapes(counts[part], seed, list(counts).index(part))

    return write_detection_set(Path(folder), "shapes", "shapes", CLASSES, counts, facts, draw, progress)


def draw_shapes(count: int, seed: int, part: int) -> Iterator[Picture]:
    """`count` images with 1 to 4 objects; part: 0 for training, 1 for testing."""
    rng = np.random.Generator(np.random.Philox(key=[seed, part]))
    for _ in range(count):
        yield _picture(rng)


def _picture(rng: np.random.Generator) -> Picture:
    height, width = (int(side) for side in rng.choice(_SIDES, 2))
    pixels = textured(rng, height, width, (rng.uniform(40, 215, 3), rng.uniform(10, 45)))
    objects: list[Object] = []
    for _ in range(int(rng.integers(1, _MOST + 1))):
        name = CLASSES[int(rng.integers(len(CLASSES)))]
        crowd = rng.random() < _CROWD
        faint = not crowd and rng.random() < _FAINT
        found = _placed(rng, name, crowd, (height, width), objects)
        if found is None:
            continue
        mask, box = found
        behind = pixels[:, mask >= 0.5].mean(axis=1)
        colour = apart(rng, behind, _LITTLE if faint else _CONTRAST)
        pixels += (textured(rng, height, width, (colour, rng.uniform(0, 12))) - pixels) * mask
        objects.append(Object(name, box, crowd or faint))
    pixels += rng.standard_normal(pixels.shape) * rng.uniform(2, 8)
    return Picture(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), tuple(objects))


def _placed(
    rng: np.random.Generator, name: str, crowd: bool, size: tuple[int, int], objects: Sequence[Object]
) -> tuple[Plane, Box] | None:
    """The coverage (H, W) of a shape in a free place, and its box; None if none was found."""
    for _ in range(_TRIES):
        if crowd:
            centre = rng.uniform(0.25, 0.75, 2) * size
            around = centre + rng.uniform(-18, 18, (int(rng.integers(6, 10)), 2))
            mask = np.max([_mask(name, size, place, rng.uniform(4, 6), 0) for place in around], axis=0)
        else:
            radius = _RADII[0] * (_RADII[1] / _RADII[0]) ** rng.random()  # as many small as large ones
            margin = 0.6 * radius  # so that most of it is inside
            place = np.array([rng.uniform(margin, side - margin) for side in size])
            mask = _mask(name, size, place, radius, rng.uniform(-0.4, 0.4))
        box = box_of(mask)
        if box is not None and is_free(box, objects):
            return mask, box
    return None


def _mask(name: str, size: tuple[int, int], place: NDArray[Any], radius: float, turn: float) -> Plane:
    """The coverage of each pixel by a shape around `place` (row, column), turned by an angle."""
    y = np.arange(size[0], dtype=np.float32)[:, None] + np.float32(0.5 - place[0])
    x = np.arange(size[1], dtype=np.float32)[None, :] + np.float32(0.5 - place[1])
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    distance = shape_distance(name, x * cosine + y * sine, y * cosine - x * sine, np.full((1, 1), radius, np.float32))
    mask: Plane = np.clip(0.5 - distance, 0, 1)
    return mask
