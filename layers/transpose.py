"""The layer type Transpose."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.rearranging import Rearranging
from dragon.memory.blob import Blob

__all__ = ["Transpose"]


@register()
class Transpose(Rearranging):
    """The axes in the order of `dim`, which names each axis of the bottom once, as nets that read text have it."""

    type = "Transpose"
    settings = ("transpose_param",)
    capturable = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.param.transpose_param.dim:
            self.bad_param("needs transpose_param { dim: ... }, one for each axis of the bottom")
        super().setup(bottom, top)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        given = list(self.param.transpose_param.dim)
        order = [self.axis(axis, len(shape)) for axis in given]
        if sorted(order) != list(range(len(shape))):
            self.bad_shape(f"dim must name each axis of a bottom of shape {shape} once, got {given}")
        self.arrange(top[0], [shape[axis] for axis in order], shape, order)
