"""The layer type Upsample."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.indices import checked_indices
from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Upsample"]


@register()
class Upsample(Layer):
    """Each value repeated `scale` times down and across, or placed where a max pooling found it.

    One bottom: nearest-neighbour, with a `scale` of 1 unless set. Two bottoms (SegNet): the second is the mask of the
    pooling to undo, which holds the index of each maximum within its channel; `scale` is 2 unless set, pad_out_h and
    pad_out_w remove one row or column, upsample_h and upsample_w set the size itself. scale_h and scale_w replace
    `scale`.
    """

    type = "Upsample"
    settings = ("upsample_param",)
    bottoms = (1, 2)

    def can_propagate(self, index: int) -> bool:
        return index == 0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.upsample_param
        default = p.scale if p.HasField("scale") else len(bottom)
        self.scale = tuple(getattr(p, name) if p.HasField(name) else default for name in ("scale_h", "scale_w"))
        self.size = (p.upsample_h, p.upsample_w)
        if (self.size[0] > 0) != (self.size[1] > 0):
            self.bad_param(f"upsample_h and upsample_w must be set together, got {self.size}")
        if min(self.scale) < 1:
            self.bad_param(f"scale must be at least 1, got {self.scale}")
        if len(bottom) == 1 and (any(self.size) or p.pad_out_h or p.pad_out_w):
            self.bad_param("upsample_h, upsample_w, pad_out_h and pad_out_w need a second bottom, the pooling's mask")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.upsample_param
        shape = bottom[0].shape
        if len(shape) != 4:
            self.bad_shape(f"needs a bottom of shape (N, C, H, W), got {shape}")
        if len(bottom) > 1 and bottom[1].shape != shape:
            self.bad_shape(f"the mask must have the shape of bottom 0: expected {shape}, got {bottom[1].shape}")
        size = self.size
        if not any(size):
            size = (shape[2] * self.scale[0] - p.pad_out_h, shape[3] * self.scale[1] - p.pad_out_w)
        top[0].reshape(*shape[:2], *size)

    def _blocks(self, y: Array, shape: tuple[int, ...]) -> Array:
        """A view of the top as (N, C, H, scale, W, scale)."""
        return y.reshape(*shape[:3], self.scale[0], shape[3], self.scale[1])

    def _plane(self, blob: Array) -> Array:
        return blob.reshape(blob.shape[0] * blob.shape[1], -1)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = bottom[0].data, top[0].data
        if len(bottom) == 1:
            self._blocks(y, x.shape)[...] = x[:, :, :, None, :, None]
            return
        xp = xp_of(x)
        flat, values = self._plane(y), self._plane(x)
        self.index = checked_indices(self, bottom[1].data, flat.shape[1], "mask").reshape(values.shape)
        flat[...] = 0
        flat[xp.arange(len(flat))[:, None], self.index] = values

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if len(bottom) == 1:
            dx[...] = self._blocks(dy, dx.shape).sum(axis=(3, 5))
        else:
            self._plane(dx)[...] = xp_of(dy).take_along_axis(self._plane(dy), self.index, axis=1)
