"""Records with boxes that can be found again by their colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.data import write_lmdb
from dragon.data.detection.geometry import BOX
from dragon.data.detection.record import encode_annotated
from dragon.proto import dragon_pb2 as pb

GROUND = (10, 20, 30)  # blue, green, red
COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250))


def painted(height: int, width: int, boxes: Sequence[tuple[int, int, int, int]]) -> NDArray[np.uint8]:
    """An image (3, H, W) with a rectangle of a colour of its own for each box (xmin, ymin, xmax, ymax) in pixels."""
    image = np.empty((3, height, width), np.uint8)
    image[...] = np.reshape(GROUND, (3, 1, 1))
    for (x0, y0, x1, y1), colour in zip(boxes, COLOURS, strict=False):
        image[:, y0:y1, x0:x1] = np.reshape(colour, (3, 1, 1))
    return image


def rows_of_boxes(height: int, width: int, boxes: Sequence[tuple[int, int, int, int]]) -> NDArray[np.float64]:
    """Annotations (N, 7): the label of box k is k + 1, the second box is difficult."""
    rows = np.zeros((len(boxes), 7))
    rows[:, 0] = np.arange(1, len(boxes) + 1)
    rows[:, BOX] = np.array(boxes, float).reshape(-1, 4) / [width, height, width, height]
    rows[1:2, 6] = 1
    return rows


def found_box(image: NDArray[np.float32], k: int) -> list[float] | None:
    """The box of colour k in an image (3, H, W), in pixels; None if it is not there."""
    inside = (np.abs(image - np.reshape(COLOURS[k], (3, 1, 1))) < 90).all(axis=0)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else None


def record_of(image: NDArray[np.uint8], rows: NDArray[np.float64]) -> bytes:
    channels, height, width = image.shape
    datum = pb.Datum(channels=channels, height=height, width=width, data=image.tobytes(), label=-1)
    return encode_annotated(datum, rows)


def write_scenes(folder: Path, count: int = 7, size: tuple[int, int] = (60, 80), seed: int = 1) -> Path:
    """An LMDB of images with up to three rectangles, the third of which has none."""
    rng = np.random.default_rng(seed)

    def records() -> list[tuple[bytes, bytes]]:
        found = []
        for i in range(count):
            boxes = [
                (int(x), int(y), int(x + w), int(y + h))
                for x, y, w, h in zip(
                    rng.integers(0, 50, 3),
                    rng.integers(0, 30, 3),
                    rng.integers(12, 28, 3),
                    rng.integers(12, 28, 3),
                    strict=True,
                )
            ]
            boxes = boxes[: 0 if i == 2 else 1 + i % 3]
            found.append((f"{i:04d}".encode(), record_of(painted(*size, boxes), rows_of_boxes(*size, boxes))))
        return found

    write_lmdb(folder, records())
    return folder
