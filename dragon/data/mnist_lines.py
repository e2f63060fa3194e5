"""Lines of handwritten digits, composed from MNIST, with their label sequences, as HDF5 files for HDF5Data.

Each line has a few digits side by side, of varying size, distance and height. Lines of the test part have test digits
only. This is the kind of data that crnn.caffe trains on: one label sequence a line, padded with the blank label.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.data.drawn import Digits, Drawn, Files, write_drawn
from dragon.data.progress import Progress, silent
from dragon.data.resize import resize_bilinear
from dragon.errors import DataError
from dragon.files.hdf5 import atomic_h5, write_values

__all__ = ["BLANK", "compose_lines", "write_lines"]

BLANK = 10  # the label behind the ten digits
_HEIGHT = 32
_INK = 48  # a grey level that counts as part of a digit
_SCALE = (0.85, 1.1)
_GAP = (1.0, 7.0)  # pixels between two digits
_ROWS = 5000  # of a file; HDF5Data holds one file in memory

Image = NDArray[np.float32]


def write_lines(
    folder: str | os.PathLike[str],
    digits: Callable[[], Digits],
    train: int = 30_000,
    test: int = 2000,
    seed: int = 1,
    width: int = 100,
    lengths: tuple[int, int] = (2, 5),
    progress: Progress = silent,
) -> Drawn:
    """Write train.txt and test.txt, lists of HDF5 files, to `folder`. Raises DataError.

    Datasets: data (N, 1, 32, width) float32 in [0, 1], ink bright; label (N, most digits) float32, padded with 10, the
    blank label; label_length (N, 1). digits: called if something has to be drawn. train, test: numbers of lines.
    lengths: fewest and most digits of a line.
    """
    low, high = lengths
    if min(train, test) < 1:
        raise DataError(f"a set of lines needs at least one in each part, got {train} and {test}")
    if not 1 <= low <= high or width < 20 * high:
        raise DataError(f"lines of {low} to {high} digits do not fit a width of {width}: at least 20 pixels a digit")
    counts = {"train": train, "test": test}
    label = "MNIST lines"
    description = {
        "label": label, **counts, "shape": [1, _HEIGHT, width], "seed": seed, "lengths": [low, high], "blank": BLANK
    }  # fmt: skip
    names = {
        part: [f"{part}_{k}.h5" for k in range(-(-count // _ROWS))] if count > _ROWS else [f"{part}.h5"]
        for part, count in counts.items()
    }

    def write(place: Path) -> None:
        source = digits()
        for k, (part, count) in enumerate(counts.items()):
            rng = np.random.Generator(np.random.Philox(key=[seed, k]))
            for n, name in enumerate(names[part]):
                rows = min(_ROWS, count - n * _ROWS)
                data, labels, sizes = compose_lines(getattr(source, part), rows, rng, width, lengths)
                with atomic_h5(place / name) as file:
                    for key, values in (("data", data), ("label", labels), ("label_length", sizes)):
                        write_values(file, key, values)
                progress(f"{part} lines", n * _ROWS + rows, count)
            listed = "".join(f"{Path(folder).as_posix()}/{name}\n" for name in names[part])
            (place / f"{part}.txt").write_text(listed, encoding="utf-8")

    written = write_drawn(folder, description, write)
    parts = {part: Files(Path(folder) / f"{part}.txt", how_many(count, "line")) for part, count in counts.items()}
    return Drawn(label, Path(folder), written, parts)


def compose_lines(
    digits: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    count: int,
    rng: np.random.Generator,
    width: int = 100,
    lengths: tuple[int, int] = (2, 5),
) -> tuple[Image, Image, Image]:
    """`count` lines: data (count, 1, 32, width) in [0, 1], labels (count, most) and lengths (count, 1).

    digits: images (N, 28, 28) and labels (N) to choose from.
    """
    images, labels = digits
    data = np.empty((count, 1, _HEIGHT, width), np.float32)
    sequences = np.full((count, lengths[1]), BLANK, np.float32)
    sizes = rng.integers(lengths[0], lengths[1] + 1, (count, 1))
    for n, size in enumerate(sizes[:, 0]):
        chosen = rng.integers(len(labels), size=size)
        sequences[n, :size] = labels[chosen]
        line = _line([images[i] for i in chosen], width, rng)
        dark, bright = rng.uniform(0, 0.2), rng.uniform(0.65, 1)
        shade = np.linspace(-0.05, 0.05, width, dtype=np.float32) * rng.uniform(-1, 1)
        noise = rng.standard_normal(line.shape, np.float32) * np.float32(0.03)
        data[n, 0] = np.clip(dark + (bright - dark) * line + shade + noise, 0, 1)
    return data, sequences, sizes.astype(np.float32)


def _line(digits: list[NDArray[np.uint8]], width: int, rng: np.random.Generator) -> Image:
    """Digits beside each other, somewhere in an image (32, width) of values in [0, 1]."""
    boxes = [_trimmed(digit) for digit in digits]
    scales = rng.uniform(*_SCALE, len(boxes))
    gaps = rng.uniform(*_GAP, len(boxes))
    gaps[0] = 0
    widths = np.array([box.shape[1] for box in boxes]) * scales
    squeeze = min(1.0, (width - 2) / (widths.sum() + gaps.sum() + len(boxes)))
    left = rng.uniform(0, width - squeeze * (widths.sum() + gaps.sum() + len(boxes)))
    line = np.zeros((_HEIGHT, width), np.float32)
    for box, scale, wide, gap in zip(boxes, scales, widths, gaps, strict=True):
        high, across = (min(_HEIGHT, max(1, round(v))) for v in (box.shape[0] * scale, wide * squeeze))
        row, column = int(rng.integers(_HEIGHT - high + 1)), int(left + gap * squeeze)
        part = resize_bilinear(box[None], high, across)[0].astype(np.float32) / 255
        place = line[row : row + high, column : column + across]
        np.maximum(place, part[:, : place.shape[1]], out=place)
        left += (gap + wide) * squeeze
    return line


def _trimmed(digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The columns of a digit from its first to its last ink, all rows; the digit itself if it has none."""
    inked = np.flatnonzero((digit > _INK).any(axis=0))
    return digit[:, inked[0] : inked[-1] + 1] if len(inked) else digit
