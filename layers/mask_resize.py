"""The layer type MaskResize."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["MaskResize", "resize_weights"]


def resize_weights(size: int, wanted: int) -> Array:
    """The weights (wanted, size) of a linear interpolation: position i of the result takes i * size / wanted."""
    place = np.arange(wanted) * (size / wanted)
    low = np.minimum(place.astype(np.intp), size - 1)
    high = np.minimum(low + 1, size - 1)
    part = np.where(low == size - 1, 0, place - low)
    found = np.zeros((wanted, size))
    rows = np.arange(wanted)
    found[rows, low] += 1 - part
    found[rows, high] += part
    inside = place <= size - 0.5
    found[~inside] = 0
    return found


@register()
class MaskResize(Layer):
    """Bilinear resizing of masks (multi-task network cascades, Dai et al. 2016).

    Bottom: (N, C, H, W). Top: (N, C, output_height, output_width): position i of an axis takes position i * H /
    output_height of the bottom, and 0 where that lies more than half a position behind its end.
    """

    type = "MaskResize"
    settings = ("mask_resize_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.mask_resize_param
        self.size = (p.output_height, p.output_width)
        if min(self.size) < 1:
            self.bad_param(f"output_height and output_width must be at least 1, got {self.size}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) != 4:
            self.bad_shape(f"expected a bottom (N, C, H, W), got {shape}")
        top[0].reshape(*shape[:2], *self.size)

    def _both(self, shape: tuple[int, ...], like: Array) -> list[Array]:
        """The weights of rows and of columns, in the library and type of `like`."""
        xp = xp_of(like)
        return [xp.asarray(resize_weights(n, m), dtype=like.dtype) for n, m in zip(shape[2:], self.size, strict=True)]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        rows, columns = self._both(x.shape, x)
        top[0].data[...] = rows @ x @ columns.T

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy = top[0].diff
            rows, columns = self._both(bottom[0].shape, dy)
            bottom[0].diff[...] = rows.T @ dy @ columns
