"""The layer type Reverse."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["Reverse"]


@register()
class Reverse(Layer):
    """The bottom flipped along each named `axis` (axis 0 when none is named)."""

    type = "Reverse"
    settings = ("reverse_param",)
    capturable = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        self.axes = tuple({self.axis(axis, len(shape)) for axis in self.reversed_axes(shape)})
        top[0].reshape(shape)

    def reversed_axes(self, shape: tuple[int, ...]) -> list[int]:
        """The axes whose order is reversed, of a bottom of `shape`."""
        return list(self.param.reverse_param.axis) or [0]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        top[0].data[...] = xp_of(x).flip(x, self.axes)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dy = top[0].diff
            bottom[0].diff[...] = xp_of(dy).flip(dy, self.axes)
