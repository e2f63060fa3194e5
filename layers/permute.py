"""The layer type Permute."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.rearranging import Rearranging
from dragon.memory.blob import Blob

__all__ = ["Permute"]


@register()
class Permute(Rearranging):
    """The axes in another `order`; axes that it does not name follow in their own order."""

    type = "Permute"
    settings = ("permute_param",)
    capturable = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        named = list(self.param.permute_param.order)
        if len(set(named)) != len(named):
            self.bad_param(f"order names an axis twice: {named}")
        super().setup(bottom, top)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        named = list(self.param.permute_param.order)
        if any(axis >= len(shape) for axis in named):
            self.bad_shape(f"order {named} names an axis that a bottom of shape {shape} does not have")
        order = [*named, *(axis for axis in range(len(shape)) if axis not in named)]
        self.arrange(top[0], [shape[axis] for axis in order], shape, order)
