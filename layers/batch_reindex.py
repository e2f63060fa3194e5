"""The layer type BatchReindex."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.indices import checked_indices
from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.xp import xp_of

__all__ = ["BatchReindex"]


@register()
class BatchReindex(Layer):
    """The items of bottom 0 in the order that bottom 1 lists; items may repeat or be left out.

    Bottoms: items (N, ...) and indices (M). Top: (M, ...). Forward raises DataError for an index that is out of range.
    """

    type = "BatchReindex"
    bottoms = (2, 2)

    def can_propagate(self, index: int) -> bool:
        return index == 0

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[1].ndim != 1 or not bottom[0].ndim:
            self.bad_shape(f"expected items and a list of indices, got shapes {bottom[0].shape} and {bottom[1].shape}")
        top[0].reshape(bottom[1].shape[0], *bottom[0].shape[1:])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        self.indices = checked_indices(self, bottom[1].data, x.shape[0], "index")
        top[0].data[...] = x[self.indices]

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[1]:
            self.bad_param("bottom 1 lists indices and has no gradient; set its propagate_down to false")
        if propagate_down[0]:
            dx = bottom[0].diff
            dx[...] = 0
            xp_of(dx).add.at(dx, self.indices, top[0].diff)
