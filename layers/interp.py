"""The layer type Interp, and its interpolation matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Interp"]


def weights(old: int, new: int) -> Array:
    """The interpolation matrix (new, old): row i has the weights of the `old` values in value i of the `new` ones."""
    at = np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0)
    first = np.minimum(at.astype(np.intp), old - 1)
    second = np.minimum(first + 1, old - 1)
    matrix = np.zeros((new, old))
    rows = np.arange(new)
    np.add.at(matrix, (rows, first), 1 - (at - first))
    np.add.at(matrix, (rows, second), at - first)
    return matrix


@register()
class Interp(Layer):
    """Bilinear resizing with aligned corners (DeepLab, PSPNet).

    The size is `height` and `width`, or that of a second bottom, or follows from `shrink_factor` and `zoom_factor`.
    pad_beg and pad_end, which are 0 or negative, crop the borders first.
    """

    type = "Interp"
    settings = ("interp_param",)
    bottoms = (1, 2)

    def can_propagate(self, index: int) -> bool:
        return index == 0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.interp_param
        if p.zoom_factor < 1 or p.shrink_factor < 1:
            self.bad_param(f"zoom_factor {p.zoom_factor} and shrink_factor {p.shrink_factor} must be at least 1")
        if p.pad_beg > 0 or p.pad_end > 0:
            self.bad_param("pad_beg and pad_end cut off: they must be 0 or negative")
        if (p.height > 0) != (p.width > 0) or min(p.height, p.width) < 0:
            self.bad_param(f"height and width must be set together, got {p.height} and {p.width}")
        self.built: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def _new_size(self, size: int, fixed: int) -> int:
        p = self.param.interp_param
        if fixed:
            return fixed
        shrunk = (size - 1) // p.shrink_factor + 1
        return shrunk + (shrunk - 1) * (p.zoom_factor - 1)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.interp_param
        shape = bottom[0].shape
        if len(shape) != 4:
            self.bad_shape(f"needs a bottom of shape (N, C, H, W), got {shape}")
        used = tuple(size + p.pad_beg + p.pad_end for size in shape[2:])
        fixed = (p.height, p.width) if len(bottom) == 1 else bottom[1].shape[2:4]
        if min(used) < 1 or len(fixed) != 2:
            self.bad_shape(f"nothing to interpolate: bottoms of shapes {[blob.shape for blob in bottom]}")
        size = tuple(self._new_size(u, f) for u, f in zip(used, fixed, strict=True))
        if self.built != (used, size):
            self.down, self.across = (weights(u, s).astype(self.dtype) for u, s in zip(used, size, strict=True))
            self.built = used, size
        end = [s + p.pad_end for s in shape[2:]]
        self.window = (slice(None), slice(None), slice(-p.pad_beg, end[0]), slice(-p.pad_beg, end[1]))
        top[0].reshape(*shape[:2], *size)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data[self.window]
        xp = xp_of(x)
        xp.matmul(xp.asarray(self.down), x @ xp.asarray(self.across.T), out=top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy, dx = top[0].diff, bottom[0].diff
            xp = xp_of(dy)
            dx[...] = 0
            dx[self.window] = xp.asarray(self.down.T) @ (dy @ xp.asarray(self.across))
