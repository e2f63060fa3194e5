"""The layer type MaskPooling."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["MaskPooling"]


@register()
class MaskPooling(Layer):
    """Features times a mask, the same for all channels (multi-task network cascades, Dai et al. 2016).

    Bottoms: features (N, C, H, W) and masks (N, 1, H, W). Top: of the features' shape.
    """

    type = "MaskPooling"
    pointwise = True
    bottoms = (2, 2)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """It has no settings."""

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape, mask = bottom[0].shape, bottom[1].shape
        if len(shape) < 2 or mask != (shape[0], 1, *shape[2:]):
            expected = (shape[0], 1, *shape[2:]) if shape else "one axis more"
            self.bad_shape(f"bottom 1: expected a mask of shape {expected} for features of shape {shape}, got {mask}")
        top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        xp_of(x).multiply(x, bottom[1].data, out=top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = top[0].diff
        if propagate_down[1]:
            bottom[1].diff[...] = (dy * bottom[0].data).sum(axis=1, keepdims=True)
        if propagate_down[0]:
            xp_of(dy).multiply(dy, bottom[1].data, out=bottom[0].diff)
