"""The layer type LayerNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.row_norm import RowNorm
from dragon.memory.blob import Blob

__all__ = ["LayerNorm"]


@register()
class LayerNorm(RowNorm):
    """Normalises each item over all axes from `axis` on (Ba, Kiros & Hinton 2016).

    Blobs with `scale_bias`: gamma and beta, of the shape of those axes.
    """

    type = "LayerNorm"
    settings = ("layer_norm_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.layer_norm_param
        scale = p.scale_filler if p.HasField("scale_filler") else None
        self.setup_norm(bottom, p.eps, p.scale_bias, scale, p.bias_filler)

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        axis = self.axis(self.param.layer_norm_param.axis, len(shape))
        return math.prod(shape[:axis]), math.prod(shape[axis:])

    def affine_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[self.axis(self.param.layer_norm_param.axis, len(shape)) :]

    def broadcast_shape(self, affine: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*([1] * (len(shape) - len(affine))), *affine)
