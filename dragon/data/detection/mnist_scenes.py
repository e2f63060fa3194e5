"""Scenes of handwritten digits with boxes, composed from MNIST: digits of several sizes and colours on textures.

A digit's box is exact: the edges of the pixels with at least a quarter of the ink. Scenes of the test part have test
digits only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.data.detection.annotations import Object
from dragon.data.detection.painting import Box, Plane, apart, box_of, is_free, textured
from dragon.data.detection.written import Picture, write_detection_set
from dragon.data.drawn import Digits, Drawn
from dragon.data.progress import Progress, silent
from dragon.data.resize import resize_bilinear
from dragon.errors import DataError

__all__ = ["compose_scenes", "write_scenes"]

_CLASSES = tuple("0123456789")
_SIDE = 96  # of an image, in pixels
_MOST = 5  # digits of a scene
_SCALE = (0.8, 2.0)  # of a digit
_TRIES = 20  # to find a free place
_CONTRAST = (80.0, 150.0)  # distance of colours, in grey levels
_INK = 0.25  # coverage that belongs to the box


def write_scenes(
    folder: str | os.PathLike[str],
    digits: Callable[[], Digits],
    train: int = 2000,
    test: int = 500,
    seed: int = 1,
    progress: Progress = silent,
) -> Drawn:
    """Write scenes_train_lmdb and scenes_test_lmdb, and the same as VOC and COCO, to `folder`. Raises DataError.

    digits: called if something has to be drawn. train, test: numbers of images. Digit d has the label d + 1.
    """
    if min(train, test) < 1:
        raise DataError(f"a set of scenes needs at least one in each part, got {train} and {test}")
    counts = {"train": train, "test": test}

    def draw(part: str) -> Iterator[Picture]:
        rng = np.random.Generator(np.random.Philox(key=[seed, list(counts).index(part)]))
        images, labels = getattr(digits(), part)
        return compose_scenes((images, labels), counts[part], rng)

    facts = {"seed": seed, "side": _SIDE}
    return write_detection_set(Path(folder), "scenes", "MNIST scenes", _CLASSES, counts, facts, draw, progress)


def compose_scenes(
    digits: tuple[NDArray[np.uint8], NDArray[np.uint8]], count: int, rng: np.random.Generator
) -> Iterator[Picture]:
    """`count` scenes with 1 to 5 digits. digits: images (N, 28, 28) and labels (N) to choose from."""
    images, labels = digits
    for _ in range(count):
        pixels = textured(rng, _SIDE, _SIDE, (rng.uniform(40, 215, 3), rng.uniform(3, 15)))
        objects: list[Object] = []
        for _ in range(int(rng.integers(1, _MOST + 1))):
            chosen = int(rng.integers(len(labels)))
            found = _placed(rng, images[chosen], objects)
            if found is None:
                continue
            mask, box = found
            behind = pixels[:, mask >= _INK].mean(axis=1)
            pixels += (apart(rng, behind, _CONTRAST).reshape(3, 1, 1) - pixels) * mask
            objects.append(Object(_CLASSES[int(labels[chosen])], box))
        pixels += rng.standard_normal(pixels.shape) * rng.uniform(1, 5)
        yield Picture(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), tuple(objects))


def _placed(rng: np.random.Generator, digit: NDArray[np.uint8], objects: list[Object]) -> tuple[Plane, Box] | None:
    """The coverage (side, side) of a digit in a free place, and its box; None if none was found."""
    for _ in range(_TRIES):
        side = round(28 * rng.uniform(*_SCALE))
        scaled = resize_bilinear(digit[None], side, side)[0].astype(np.float32) / 255
        row, column = (int(v) for v in rng.integers(0, _SIDE - side + 1, 2))
        mask = np.zeros((_SIDE, _SIDE), np.float32)
        mask[row : row + side, column : column + side] = scaled
        box = box_of(mask, _INK)
        if box is not None and is_free(box, objects):
            return mask, box
    return None
