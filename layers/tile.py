"""The layer type Tile."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob

__all__ = ["Tile"]


@register()
class Tile(Layer):
    """The bottom repeated `tiles` times along `axis`."""

    type = "Tile"
    settings = ("tile_param",)
    capturable = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.tiles: int = self.param.tile_param.tiles
        if self.tiles < 1:
            self.bad_param(f"tiles must be at least 1, got {self.tiles}")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        axis = self.axis(self.param.tile_param.axis, len(shape))
        self.outer, self.inner = math.prod(shape[:axis]), math.prod(shape[axis:])
        top[0].reshape(*shape[:axis], shape[axis] * self.tiles, *shape[axis + 1 :])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data.reshape(self.outer, self.tiles, self.inner)[...] = bottom[0].data.reshape(self.outer, 1, self.inner)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            dx = bottom[0].diff
            dx[...] = top[0].diff.reshape(self.outer, self.tiles, self.inner).sum(axis=1).reshape(dx.shape)
