"""Generates a synthetic dataset of ten classes in CIFAR-10's layout, for trials without real data.

A class is a pattern: five shapes (disc, ring, square, triangle, cross) and five textures (bars of three directions, a
chequer, dots). Colours, contrast, position, size, phase and noise are random for each image, so a single pixel has
almost no information about the class, and a linear classifier is far worse than a small convolutional net. Results on
it mean nothing for CIFAR-10, so `dataset_label` marks the LMDBs as synthetic.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.data.dataset import Dataset, Kind, Split, write_dataset
from dragon.data.progress import Progress, silent
from dragon.errors import DataError
from dragon.files.atomic import write_atomically

__all__ = ["CLASSES", "draw_split", "shape_distance", "write_synthetic"]

CLASSES = (
    "disc",
    "ring",
    "square",
    "triangle",
    "cross",
    "level bars",
    "upright bars",
    "slanted bars",
    "chequer",
    "dots",
)
_SHAPES = 5  # the first classes are shapes, the others textures
_SIDE = 32
_NOISE = 28.0  # standard deviation of the pixel noise, in grey levels
_CONTRAST = (45.0, 150.0)  # distance between the two colours, in grey levels
_EDGE = 1.0  # width of an edge in pixels
_README = """These images are drawn by a program. They are no photographs and not CIFAR-10, only laid out like it:
ten classes ({classes}), 32 x 32, RGB planes.
Accuracies reached on them cannot be compared with any published figure.
"""

Plane = NDArray[np.float32]  # (N, 32, 32)


def write_synthetic(
    folder: str | os.PathLike[str],
    train: int = 5000,
    test: int = 1000,
    seed: int = 1,
    progress: Progress = silent,
) -> Dataset:
    """Write synthetic_train_lmdb, synthetic_test_lmdb and mean.binaryproto to `folder`. Raises DataError.

    train, test: numbers of images.
    """
    if min(train, test) < 1:
        raise DataError(f"a synthetic set needs at least one image in each part, got {train} and {test}")
    facts = {"synthetic": True, "seed": seed, "classes": list(CLASSES)}
    kind = Kind("synthetic", "synthetic", train, test, (3, _SIDE, _SIDE), facts=facts)
    dataset = write_dataset(folder, kind, lambda: (draw_split(train, seed, 0), draw_split(test, seed, 1)), progress)
    readme = Path(folder) / "README.txt"
    if not readme.exists():
        write_atomically(readme, _README.format(classes=", ".join(CLASSES)).encode())
    return dataset


def draw_split(count: int, seed: int, part: int) -> Split:
    """`count` images in random order, equally many of each class; part: 0 for training, 1 for testing."""
    rng = np.random.Generator(np.random.Philox(key=[seed, part]))
    labels = rng.permutation(np.arange(count) % len(CLASSES)).astype(np.uint8)
    masks = np.empty((count, _SIDE, _SIDE), np.float32)
    for label in range(len(CLASSES)):
        chosen = np.flatnonzero(labels == label)
        masks[chosen] = _masks(label, len(chosen), rng)
    return Split(_paint(masks, rng), labels)


def _masks(label: int, n: int, rng: np.random.Generator) -> Plane:
    """The coverage of each pixel by the pattern, in [0, 1], for n images."""

    def uniform(low: float, high: float) -> Plane:
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    line = np.arange(_SIDE, dtype=np.float32)
    y = line[:, None] - uniform(10, 21)
    x = line[None, :] - uniform(10, 21)
    name = CLASSES[label]
    if label < _SHAPES:
        return _inside(shape_distance(name, x, y, uniform(5.5, 9.5)))
    angle = {"level bars": np.pi / 2, "upright bars": 0.0}.get(name, np.pi / 4)
    turn = angle + uniform(-0.2, 0.2)
    frequency = 2 * np.pi / uniform(5, 9)
    u = np.sin((x * np.cos(turn) + y * np.sin(turn)) * frequency)
    v = np.sin((y * np.cos(turn) - x * np.sin(turn)) * frequency)
    if name == "chequer":
        return _inside(-4 * u * v)
    return _inside(2 - 2 * u - 2 * v) if name == "dots" else _inside(-4 * u)


def shape_distance(name: str, x: Plane, y: Plane, size: Plane) -> Plane:
    """Signed distance in pixels to the edge of the shape, negative inside (approximate at corners)."""
    ax, ay = np.abs(x), np.abs(y)
    radius = np.sqrt(x * x + y * y)
    arm = size * 0.3
    edges: dict[str, Plane] = {
        "disc": radius - size,
        "ring": np.abs(radius - size * 0.85) - size * 0.25,
        "square": np.maximum(ax, ay) - size * 0.88,
        "triangle": np.maximum(0.85 * ax + 0.5 * y - size * 0.5, -y - size * 0.75),
        "cross": np.minimum(np.maximum(ax - size, ay - arm), np.maximum(ay - size, ax - arm)),
    }
    return edges[name]


def _inside(distance: Plane) -> Plane:
    covered: Plane = np.clip(0.5 - distance / _EDGE, 0, 1)
    return covered


def _paint(masks: Plane, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Images (N, 3, 32, 32) in two random colours at a random contrast, with shading and noise."""
    n = len(masks)
    background = rng.uniform(60, 195, (n, 3, 1, 1)).astype(np.float32)
    direction = rng.standard_normal((n, 3, 1, 1)).astype(np.float32)
    direction /= np.sqrt((direction**2).mean(1, keepdims=True))
    contrast = rng.uniform(*_CONTRAST, (n, 1, 1, 1)).astype(np.float32)
    slope = rng.uniform(-1.5, 1.5, (n, 1, 2)).astype(np.float32)
    ramp = np.arange(_SIDE, dtype=np.float32) - (_SIDE - 1) / 2
    shading = slope[:, :, :1, None] * ramp[:, None] + slope[:, :, 1:, None] * ramp[None, :]
    pixels = background + direction * contrast * masks[:, None] + shading
    pixels += rng.standard_normal(pixels.shape, np.float32) * _NOISE
    image: NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return image
