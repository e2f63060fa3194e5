"""Matrix products of weights with the unfolded windows of images.

`images` (n, C, *size) are what the windows slide over, `maps` (n, C', *positions) have a value for each position of a
window. With `columns` the unfolded images and W (groups, C' / groups, C / groups * kernel):

    maps = W columns        d images = fold(W^T d maps)        dW = d maps columns^T
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dragon.bases.geometry import Window, fold, unfold
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["WindowProducts"]

_COLUMN_BYTES = 1 << 20  # images are unfolded a few at a time, so that their columns stay in the cache


class WindowProducts:
    """The three products of a convolution by one window, for channels in `group` groups.

    Weights have the shape (C', C / group, *kernel).
    """

    def __init__(self, window: Window, group: int = 1) -> None:
        self.window = window
        self.group = group
        self.scratch = Scratch()

    def _matrix(self, weight: Array, map_channels: int) -> Array:
        return weight.reshape(self.group, map_channels // self.group, -1)

    def _chunks(self, images: Array, maps: Array) -> Iterator[tuple[slice, Array]]:
        """Slices of the images, each with a buffer (n, C, *kernel, *positions) for its columns."""
        per_image = images.shape[1] * math.prod(self.window.kernel) * math.prod(maps.shape[2:])
        step = images.shape[0]
        if isinstance(images, np.ndarray):
            step = max(1, _COLUMN_BYTES // max(1, per_image * images.itemsize))
        for start in range(0, images.shape[0], step):
            part = slice(start, min(start + step, images.shape[0]))
            n = part.stop - part.start
            shape = (n, images.shape[1], *self.window.kernel, *maps.shape[2:])
            yield part, self.scratch.get("columns", shape, images)

    def _flat(self, columns: Array, maps: Array) -> Array:
        positions = math.prod(maps.shape[2:])
        rows = math.prod(columns.shape[1:]) // max(1, self.group * positions)  # no -1 in an empty batch
        return columns.reshape(columns.shape[0], self.group, rows, positions)

    def _grouped(self, maps: Array) -> Array:
        """`maps` as (n, group, channels of a group, positions)."""
        n, channels = maps.shape[:2]
        return maps.reshape(n, self.group, channels // self.group, math.prod(maps.shape[2:]))

    def _unfolded(self, images: Array, columns: Array) -> Array:
        if self.window.is_pointwise:
            return images
        unfold(images, self.window, columns, self.scratch)
        return columns

    def convolve(self, images: Array, weight: Array, maps: Array, bias: Array | None = None) -> None:
        """Write maps = W unfold(images) + bias."""
        xp, matrix = xp_of(images), self._matrix(weight, maps.shape[1])
        for part, buffer in self._chunks(images, maps):
            out = self._grouped(maps[part])
            xp.matmul(matrix, self._flat(self._unfolded(images[part], buffer), maps), out=out)
            if bias is not None:
                out += bias.reshape(self.group, -1, 1)

    def convolve_transposed(self, maps: Array, weight: Array, images: Array, bias: Array | None = None) -> None:
        """Write images = fold(W^T maps) + bias."""
        xp, matrix = xp_of(images), self._matrix(weight, maps.shape[1]).swapaxes(1, 2)
        for part, buffer in self._chunks(images, maps):
            columns = images[part] if self.window.is_pointwise else buffer
            xp.matmul(matrix, self._grouped(maps[part]), out=self._flat(columns, maps))
            if not self.window.is_pointwise:
                fold(buffer, self.window, images[part], self.scratch)
            if bias is not None:
                flat = images[part].reshape(-1, images.shape[1], math.prod(images.shape[2:]))
                flat += bias[:, None]

    def weight_gradient(self, images: Array, maps_diff: Array) -> Array:
        """The gradient of the weight, in its shape: the sum over the images of maps_diff unfold(images)^T."""
        xp = xp_of(images)
        shape = (maps_diff.shape[1], images.shape[1] // self.group, *self.window.kernel)
        total: Array = xp.zeros(shape, images.dtype)
        matrix = self._matrix(total, maps_diff.shape[1])
        for part, buffer in self._chunks(images, maps_diff):
            columns = self._flat(self._unfolded(images[part], buffer), maps_diff)
            matrix += xp.matmul(self._grouped(maps_diff[part]), columns.swapaxes(2, 3)).sum(axis=0)
        return total
