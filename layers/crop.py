"""The layer type Crop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.coordinates import Coordinates
from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Crop"]


@register()
class Crop(Layer):
    """Bottom 0 cropped to the size of bottom 1 on the axes from `axis` on.

    `offset` is where the crop begins: one value, or one for each of these axes.
    """

    type = "Crop"
    settings = ("crop_param",)
    capturable = True
    size_bottoms = frozenset({1})
    bottoms = (2, 2)

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates:
        p = param.crop_param
        return p.axis - 1, 1, -np.array(list(p.offset) or [0])

    def can_propagate(self, index: int) -> bool:
        return index == 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.crop_param
        shape, wanted = bottom[0].shape, bottom[1].shape
        axis = self.axis(p.axis, len(shape))
        if len(wanted) != len(shape):
            self.bad_shape(f"bottoms must have as many axes: expected {len(shape)} as in {shape}, got {wanted}")
        cropped = len(shape) - axis
        offset = list(p.offset) or [0]
        if len(offset) not in (1, cropped):
            self.bad_param(f"expected 1 offset or {cropped} of them, got {len(offset)}")
        offset = offset * cropped if len(offset) == 1 else offset
        for i, (start, size, extent) in enumerate(zip(offset, wanted[axis:], shape[axis:], strict=True), axis):
            if start + size > extent:
                self.bad_shape(f"axis {i}: offset {start} and size {size} reach beyond a bottom of shape {shape}")
        self.window = (
            *([slice(None)] * axis),
            *(slice(start, start + size) for start, size in zip(offset, wanted[axis:], strict=True)),
        )
        top[0].reshape(*shape[:axis], *wanted[axis:])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data[...] = bottom[0].data[self.window]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dx = bottom[0].diff
            dx[...] = 0
            dx[self.window] = top[0].diff
        for blob, wanted in zip(bottom[1:], propagate_down[1:], strict=True):
            if wanted:
                blob.diff[...] = 0  # only its shape is used
