"""Random windows of random images, against BVLC Caffe's arithmetic in float32, step by step.

WINDOWS=N tries N lists; WINDOWS_START=S begins with seed S.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import pytest

from dragon.data import write_mean
from dragon.data.resize import resize_bilinear
from dragon.errors import DataError
from dragon.memory.storage import Array
from tests.layers.helpers import One

COUNT = int(os.environ.get("WINDOWS", "25"))
START = int(os.environ.get("WINDOWS_START", "0"))
F = np.float32


class Window(NamedTuple):
    image: int
    label: int
    overlap: float
    box: tuple[int, int, int, int]


def rounded(x: np.float32) -> int:
    """As C's round."""
    return int(math.copysign(math.floor(abs(float(x)) + 0.5), float(x)))


def along(first: int, last: int, half: np.float32, size: int, padding: int, extent: int) -> tuple[int, ...]:
    """One side of the expanded window: first, last, free pixels of the input before and behind, its length there."""
    scale = F(size) / F(size - 2 * padding)
    centre = F(first) + F(last - first + 1) / F(2)
    first, last = rounded(centre - half * scale), rounded(centre + half * scale)
    whole = last - first + 1
    before, behind = max(0, -first), max(0, last - extent + 1)
    first, last = first + before, last - behind
    factor = F(size) / F(whole)
    return first, last, rounded(F(before) * factor), rounded(F(behind) * factor), rounded(F(last - first + 1) * factor)


class Case:
    """A list of windows with settings, and what a window becomes."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.size = int(rng.integers(2, 30))
        self.context = int(rng.integers(0, (self.size + 1) // 2)) * int(rng.integers(2))
        self.square, self.mirror = rng.random(2) < 0.5
        self.batch, self.fraction = int(rng.integers(1, 12)), float(rng.choice([0, 0.29, 0.5, 0.7, 0.9, 1]))
        self.thresholds = float(rng.choice([0.25, 0.5])), float(rng.choice([0.25, 0.5, 0.75]))
        self.images: list[Array] = []
        self.windows: list[Window] = []
        self.folder = folder
        channels = int(rng.choice([1, 3]))
        lines = [line for i in range(3) for line in self._image(i, channels)]
        (folder / "windows.txt").write_text("\n".join(lines))
        self.mean: Array = np.zeros((channels, 1, 1), np.float32)
        self.means = ""
        if rng.random() < 0.4:
            self.mean = rng.random((channels, *[self.size + int(rng.integers(5))] * 2), np.float32)
            write_mean(folder / "mean", self.mean)
            self.means = f'mean_file: "{folder}/mean"'

    def _image(self, i: int, channels: int) -> list[str]:
        height, width = self.rng.integers(4, 40, 2).tolist()
        image = self.rng.integers(0, 256, (channels, height, width), np.uint8)
        path = self.folder / f"image {i}.png"
        PIL.Image.fromarray(image[0] if channels == 1 else image[::-1].transpose(1, 2, 0)).save(path)
        self.images.append(image)
        lines = [f"# {i}", str(path), str(channels), str(height), str(width), "3"]
        for _ in range(3):
            (x1, x2), (y1, y2) = (sorted(self.rng.integers(0, n, 2).tolist()) for n in (width, height))
            window = Window(
                i, int(self.rng.integers(1, 9)), float(self.rng.choice([0, 0.25, 0.5, 1])), (x1, y1, x2, y2)
            )
            self.windows.append(window)
            lines.append(f"{window.label} {window.overlap} {x1} {y1} {x2} {y2}")
        return lines

    @property
    def text(self) -> str:
        mode = "square" if self.square else "warp"
        return (
            f'type: "WindowData" window_data_param {{ source: "{self.folder}/windows.txt" batch_size: {self.batch} '
            f'fg_fraction: {self.fraction} context_pad: {self.context} crop_mode: "{mode}" '
            f"fg_threshold: {self.thresholds[0]} bg_threshold: {self.thresholds[1]} }} "
            f"transform_param {{ crop_size: {self.size} mirror: {str(bool(self.mirror)).lower()} {self.means} }}"
        )

    def made(self, window: Window, mirror: bool) -> Array | None:
        """What the window becomes; None if nothing of it is left."""
        image, (x1, y1, x2, y2), size = self.images[window.image], window.box, self.size
        row = column = 0
        height = width = size
        if self.context or self.square:
            half_w, half_h = F(x2 - x1 + 1) / F(2), F(y2 - y1 + 1) / F(2)
            if self.square:
                half_w = half_h = max(half_w, half_h)
            x1, x2, left, right, width = along(x1, x2, half_w, size, self.context, image.shape[2])
            y1, y2, row, _, height = along(y1, y2, half_h, size, self.context, image.shape[1])
            column = right if mirror else left
            height, width = min(height, size - row), min(width, size - column)
        part = image[:, max(y1, 0) : y2 + 1, max(x1, 0) : x2 + 1]
        if not part.size or min(height, width) < 1:
            return None
        part = resize_bilinear(part, height, width)
        at = (slice(None), slice(row, row + height), slice(column, column + width))
        off = max(self.mean.shape[2] - size, 0) // 2
        mean = np.broadcast_to(self.mean[:, off : off + size, off : off + size], (len(image), size, size))
        out = np.zeros((len(image), size, size), np.float32)
        out[at] = (part[..., ::-1] if mirror else part) - mean[at]
        return out


@pytest.mark.parametrize("seed", range(START, START + COUNT))
def test_windows_of_a_batch(seed: int, tmp_path: Path) -> None:
    case = Case(seed, tmp_path)
    foreground = [w for w in case.windows if w.overlap >= case.thresholds[0]]
    background = [w for w in case.windows if w.overlap < min(case.thresholds)]
    wanted = int(F(case.batch) * F(case.fraction))
    if (wanted and not foreground) or (wanted < case.batch and not background):
        with pytest.raises(DataError, match="batches need both"):
            One(case.text, n_top=2)
        return
    flips = (False, True) if case.mirror else (False,)
    one = One(case.text, n_top=2)
    try:
        data, labels = one.forward(), one.top[1].data
    except DataError:
        assert any(case.made(w, False) is None for w in case.windows)
        return
    for i, (image, label) in enumerate(zip(data, labels, strict=True)):
        chosen = background if i < case.batch - wanted else foreground
        assert label == 0 or chosen is foreground
        assert any(
            np.array_equal(image, made)
            for w in chosen
            for flip in flips
            if (w.label if chosen is foreground else 0) == label and (made := case.made(w, flip)) is not None
        )
