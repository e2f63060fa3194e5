"""The layer type InstanceNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.row_norm import RowNorm
from dragon.memory.blob import Blob

__all__ = ["InstanceNorm"]


@register()
class InstanceNorm(RowNorm):
    """Normalises each channel of an item by its own statistics (Ulyanov, Vedaldi & Lempitsky 2016).

    Blobs with `scale_bias` (or one of its fillers): gamma (C) and beta (C).
    """

    type = "InstanceNorm"
    settings = ("instance_norm_param",)
    removes_mean = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.instance_norm_param
        learns = p.scale_bias or p.HasField("scale_filler") or p.HasField("bias_filler")
        self.setup_norm(bottom, p.eps, learns, p.scale_filler if p.HasField("scale_filler") else None, p.bias_filler)

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        if len(shape) < 2:
            self.bad_shape(f"needs at least 2 axes, got a bottom of shape {shape}")
        return shape[0] * shape[1], math.prod(shape[2:])

    def affine_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[1:2]

    def broadcast_shape(self, affine: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, *affine, *([1] * (len(shape) - 2)))
