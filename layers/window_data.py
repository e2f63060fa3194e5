"""The layer type WindowData."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.source import Source, host_array
from dragon.counting import how_many
from dragon.data import Color, read_mean
from dragon.data.image_file import image_content
from dragon.data.images import read_image
from dragon.data.windows import Window, crop_window, read_windows
from dragon.errors import DataError
from dragon.memory.blob import Blob, checked_count
from dragon.memory.storage import Array

__all__ = ["WindowData"]


@register()
class WindowData(Source):
    """Windows of images, listed in `source` (see `dragon.data.windows`), warped to crop_size x crop_size.

    Tops: data (batch_size, C, crop_size, crop_size), blue first, and label (batch_size). `fg_fraction` of each batch
    are drawn from the windows with an overlap of at least `fg_threshold`, the others, with label 0, from the rest of
    those below `bg_threshold`.
    """

    type = "WindowData"
    settings = ("window_data_param", "transform_param")
    unlimited = frozenset({"fg_threshold", "bg_threshold"})
    tops = (2, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p, transform = self.param.window_data_param, self.transform_param()
        self.refuse_transforms(("zero_pad", "cutout", "brightness", "contrast", "saturation"), "windows")
        self.size: int = transform.crop_size
        if not p.source:
            self.bad_param("window_data_param needs a source")
        if p.batch_size < 1 or self.size < 1:
            self.bad_param(f"needs a batch_size and a crop_size, got {p.batch_size} and {self.size}")
        if p.crop_mode not in ("warp", "square"):
            self.bad_param(f'crop_mode must be "warp" or "square", got "{p.crop_mode}"')
        if 2 * p.context_pad >= self.size:
            self.bad_param(f"context_pad {p.context_pad} leaves nothing of crop_size {self.size}")
        if not 0 <= p.fg_fraction <= 1:
            self.bad_param(f"fg_fraction must lie in [0, 1], got {p.fg_fraction:g}")
        with self.naming_errors():
            windows = read_windows(self.find(p.source, "list of windows"))
            self.root = self.prefix(p.root_folder)
            self.mean: Array | None = None
            if transform.mean_file:
                self.mean = read_mean(transform.mean_file)
            elif transform.mean_value:
                self.mean = np.array(transform.mean_value, np.float32).reshape(-1, 1, 1)
        self.foreground = [w for w in windows if w.overlap >= p.fg_threshold]
        self.background = [w for w in windows if w.overlap < min(p.bg_threshold, p.fg_threshold)]
        self.wanted = int(np.float32(p.batch_size) * np.float32(p.fg_fraction))  # 7 of 10 by 0.7; float64 has 6.99..
        if (self.wanted and not self.foreground) or (self.wanted < p.batch_size and not self.background):
            raise DataError(
                f"{p.source} has {len(self.foreground)} foreground and "
                f"{how_many(len(self.background), 'background window')}, batches need both",
                layer=self.where,
            )
        self.scale: float = transform.scale
        self.mirror: bool = transform.mirror
        self.color = Color.COLOR if windows[0].channels > 1 else Color.GRAY
        self.cached: dict[str, bytes] = {}
        channels = 3 if windows[0].channels > 1 else 1
        if self.mean is not None and len(self.mean) not in (1, channels):
            raise DataError(
                f"the mean has {how_many(len(self.mean), 'channel')}, the windows have {channels}", layer=self.where
            )
        with self.naming_errors():
            checked_count((channels, self.size, self.size), "crop_size")
        top[0].reshape(p.batch_size, channels, self.size, self.size)
        top[1].reshape(p.batch_size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        data, label = host_array(top[0]), host_array(top[1])
        data[...] = 0
        words = self.rng.raw(2 * len(label)).reshape(-1, 2)
        # background windows come first in a batch
        for i, (which, flip) in enumerate(words.tolist()):
            foreground = i >= len(label) - self.wanted
            windows = self.foreground if foreground else self.background
            window = windows[which % len(windows)]
            label[i] = window.label if foreground else 0
            with self.naming_errors():
                self._fill(window, self.mirror and flip % 2 == 1, data[i])

    def _fill(self, window: Window, mirror: bool, out: Array) -> None:
        p = self.param.window_data_param
        path = self.root + window.path
        image = read_image(path, self.color, self._content(path))
        part, row, column = crop_window(image, window.box, self.size, p.context_pad, p.crop_mode == "square", mirror)
        at = (slice(None), slice(row, row + part.shape[1]), slice(column, column + part.shape[2]))
        values = part.astype(np.float32)
        if self.mean is not None and self.mean.shape[1:] == (1, 1):
            values -= self.mean
        elif self.mean is not None:
            off = (self.mean.shape[2] - self.size) // 2
            if off < 0 or self.mean.shape[1] < self.size + off:
                raise DataError(f"the mean of shape {self.mean.shape} is smaller than crop_size {self.size}")
            values -= self.mean[:, off : off + self.size, off : off + self.size][at]
        out[at] = values * self.scale

    def _content(self, path: str) -> bytes | None:
        """The bytes of an image file with `cache_images`, else None. Raises DataError."""
        if not self.param.window_data_param.cache_images:
            return None
        if path not in self.cached:
            try:
                self.cached[path] = image_content(path)
            except OSError as error:
                raise DataError(f'image "{path}" cannot be read: {error.strerror or error}') from None
        return self.cached[path]
