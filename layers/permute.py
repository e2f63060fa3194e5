"""The layer type Permute."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob

__all__ = ["Permute"]


@register()
class Permute(Layer):
    """The axes in another `order`; axes that it does not name follow in their own order."""

    type = "Permute"
    settings = ("permute_param",)
    capturable = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        named = list(self.param.permute_param.order)
        if len(set(named)) != len(named):
            self.bad_param(f"order names an axis twice: {named}")
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        named = list(self.param.permute_param.order)
        if any(axis >= len(shape) for axis in named):
            self.bad_shape(f"order {named} names an axis that a bottom of shape {shape} does not have")
        self.order = [*named, *(axis for axis in range(len(shape)) if axis not in named)]
        self.inverse = sorted(range(len(shape)), key=self.order.__getitem__)
        top[0].reshape([shape[axis] for axis in self.order])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data.transpose(self.order)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.transpose(self.inverse)
