"""Base of layers whose top shares the memory of the bottom under another shape."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob

__all__ = ["View"]


class View(Layer):
    """Base of layers whose top is the bottom in another shape; a subclass gives `new_shape`."""

    passes_memory = True

    def new_shape(self, shape: tuple[int, ...]) -> Sequence[int]:
        """The top's shape for a bottom of `shape`; raises ShapeError."""
        raise NotImplementedError

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is bottom[0]:
            self.bad_param("cannot work in place: give the top another name")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        top[0].reshape(tuple(self.new_shape(bottom[0].shape)))
        top[0].share_data(bottom[0])
        top[0].share_diff(bottom[0])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Do nothing: the top shares the data of the bottom."""

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Do nothing: the top shares the diff of the bottom."""
