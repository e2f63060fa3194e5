"""The layer type CropCenter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.coordinates import Coordinates
from dragon.bases.layer import register
from dragon.layers.crop import Crop
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["CropCenter"]


@register()
class CropCenter(Crop):
    """The middle of the bottom: `crop_size` elements are cut off at both ends of each axis.

    `crop_size` is given once for each axis of the bottom. Top: extents smaller by twice that.
    """

    type = "CropCenter"
    settings = ("crop_center_param",)
    size_bottoms = frozenset()
    bottoms = (1, 1)

    @classmethod
    def coordinates(cls, param: pb.LayerParameter) -> Coordinates:
        return 1, 1, -np.array(list(param.crop_center_param.crop_size)[2:] or [0])

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, sizes = bottom[0].shape, list(self.param.crop_center_param.crop_size)
        if len(sizes) != len(shape):
            self.bad_shape(f"expected {len(shape)} crop_size, one for each axis of shape {shape}, got {len(sizes)}")
        if any(size > 0 and extent <= 2 * size for size, extent in zip(sizes, shape, strict=True)):
            self.bad_shape(f"crop_size {sizes} leaves nothing of a bottom of shape {shape}")
        self.window = tuple(slice(size, extent - size) for size, extent in zip(sizes, shape, strict=True))
        top[0].reshape(tuple(part.stop - part.start for part in self.window))
