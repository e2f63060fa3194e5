"""The layer type GroupNorm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.row_norm import RowNorm
from dragon.counting import how_many
from dragon.memory.blob import Blob

__all__ = ["GroupNorm"]


@register()
class GroupNorm(RowNorm):
    """Normalises each of `num_groups` groups of channels of an item (Wu & He 2018).

    Blobs with `scale_bias`: gamma (C) and beta (C).
    """

    type = "GroupNorm"
    settings = ("group_norm_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.group_norm_param
        self.groups: int = p.num_groups
        if self.groups < 1:
            self.bad_param("num_groups must be at least 1")
        self.setup_norm(
            bottom, p.eps, p.scale_bias, p.scale_filler if p.HasField("scale_filler") else None, p.bias_filler
        )

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        if len(shape) < 2 or shape[1] % self.groups:
            self.bad_shape(f"{how_many(self.groups, 'group')} must divide the channels of a bottom of shape {shape}")
        return shape[0] * self.groups, math.prod(shape[1:]) // self.groups

    def affine_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[1:2]

    def broadcast_shape(self, affine: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, *affine, *([1] * (len(shape) - 2)))
