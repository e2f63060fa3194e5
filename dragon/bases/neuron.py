"""Base of activation functions: element-wise, one bottom, one top of the same shape, in place or not."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

__all__ = ["Neuron"]


class Neuron(Layer):
    """Base of activation functions; a subclass gives `activate` and `gradient`.

    In place, `x` is `y` by the time of `gradient`; if the input is needed, `needs_input` saves a copy. Otherwise
    `gradient` should compute from `x`, since later layers may overwrite `y` in place.
    """

    works_in_place = True
    is_activation = True
    pointwise = True
    needs_input: bool = False
    saved_input: Array | None = None

    @property
    def reads_top_in_place(self) -> bool:
        """Not where a copy of the input is saved, unless the result is read as well."""
        return self.reads_top or (self.backward_from_top and not self.needs_input)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if top[0] is not bottom[0]:
            top[0].reshape(bottom[0].shape)

    def activate(self, x: Array, out: Array) -> None:
        """Write y = f(x) into `out`, which may be `x`."""
        raise NotImplementedError

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        """Write dx into `out`, which may be `dy`."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data
        self.saved_input = x.copy() if self.needs_input and top[0] is bottom[0] else None
        self.activate(x, top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            y = top[0].data
            x = self.saved_input if self.saved_input is not None else y if top[0] is bottom[0] else bottom[0].data
            self.gradient(x, y, top[0].diff, bottom[0].diff)
