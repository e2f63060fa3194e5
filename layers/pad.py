"""The layer type Pad."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Pad"]


@register()
class Pad(Layer):
    """The last two axes enlarged by pad_t, pad_b, pad_l and pad_r.

    `mode` CONSTANT fills with `value`, EDGE repeats the border, REFLECT mirrors at the border without repeating it.
    """

    type = "Pad"
    settings = ("pad_param",)
    unlimited = frozenset({"value"})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.pad_param
        self.pads = ((p.pad_t, p.pad_b), (p.pad_l, p.pad_r))
        self.mode: int = p.mode
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if len(shape) < 2:
            self.bad_shape(f"needs at least 2 axes, got a bottom of shape {shape}")
        for size, pads in zip(shape[-2:], self.pads, strict=True):
            if self.mode == pb.PadParameter.REFLECT:
                fits = max(pads) < size
            else:
                fits = self.mode == pb.PadParameter.CONSTANT or size > 0
            if not fits:
                self.bad_shape(f"padding {self.pads} does not fit in a bottom of shape {shape}")
        self.view = (math.prod(shape[:-2]), *shape[-2:])
        height, width = (size + sum(pads) for size, pads in zip(shape[-2:], self.pads, strict=True))
        top[0].reshape(*shape[:-2], height, width)
        self.size = height, width
        if self.mode != pb.PadParameter.CONSTANT:
            # the index into the bottom for each index of the top
            sources = (self._sources(size, pads) for size, pads in zip(shape[-2:], self.pads, strict=True))
            self.rows, self.columns = sources

    def _sources(self, size: int, pads: tuple[int, int]) -> Array:
        indices = np.arange(-pads[0], size + pads[1])
        if self.mode == pb.PadParameter.REFLECT:
            return np.where(indices < size, np.abs(indices), 2 * size - 2 - indices)
        return indices.clip(0, size - 1)

    @property
    def _inside(self) -> tuple[slice, slice, slice]:
        (top, _), (left, _) = self.pads
        return slice(None), slice(top, top + self.view[1]), slice(left, left + self.view[2])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data.reshape(self.view)
        y = top[0].data.reshape(self.view[0], *self.size)
        if self.mode == pb.PadParameter.CONSTANT:
            y[...] = self.param.pad_param.value
            y[self._inside] = x
        else:
            xp = xp_of(x)
            y[...] = x[:, xp.asarray(self.rows)][:, :, xp.asarray(self.columns)]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dx = bottom[0].diff.reshape(self.view)
        dy = top[0].diff.reshape(self.view[0], *self.size)
        if self.mode == pb.PadParameter.CONSTANT:
            dx[...] = dy[self._inside]
            return
        xp = xp_of(dy)
        by_row = xp.zeros((self.view[1], self.view[0], self.size[1]), dy.dtype)
        xp.add.at(by_row, xp.asarray(self.rows), dy.swapaxes(0, 1))
        by_column = xp.zeros((self.view[2], self.view[1], self.view[0]), dy.dtype)
        xp.add.at(by_column, xp.asarray(self.columns), by_row.transpose(2, 0, 1))
        dx[...] = by_column.transpose(2, 1, 0)
