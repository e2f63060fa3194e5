"""Base of layers that put the elements of the bottom into another order of axes."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob

__all__ = ["Rearranging"]


class Rearranging(Layer):
    """Base of Permute, Reorg, ShuffleChannel and Transpose: the top is bottom.reshape(view).transpose(order).

    A subclass calls `arrange` in `reshape`. Engines read `view` and `order`.
    """

    view: tuple[int, ...]
    order: list[int]
    inverse: list[int]

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place")

    def arrange(self, top: Blob, shape: Sequence[int], view: Sequence[int], order: Sequence[int]) -> None:
        """Give the top its `shape`, and set how the bottom is seen (`view`) and in which order its axes follow."""
        self.view, self.order = tuple(view), list(order)
        self.inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        self.moved = tuple(self.view[axis] for axis in self.order)
        top.reshape(tuple(shape))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].data.reshape(self.moved)[...] = bottom[0].data.reshape(self.view).transpose(self.order)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            bottom[0].diff.reshape(self.view)[...] = top[0].diff.reshape(self.moved).transpose(self.inverse)
