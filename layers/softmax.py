"""The layer type Softmax, and its function."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Softmax", "softmax", "softmax_backward"]


def softmax(x: Array, axis: int, out: Array) -> None:
    """Write the softmax of `x` along `axis` to `out`, which may be `x`; the maximum is subtracted first."""
    xp = xp_of(x)
    xp.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    xp.exp(out, out=out)
    out /= out.sum(axis=axis, keepdims=True)


def softmax_backward(y: Array, dy: Array, axis: int, out: Array) -> None:
    """Write dx = y * (dy - sum(dy * y)) to `out`, which may be `dy`."""
    xp = xp_of(y)
    xp.subtract(dy, (dy * y).sum(axis=axis, keepdims=True), out=out)
    out *= y


@register()
class Softmax(Layer):
    """y = exp(x) / sum(exp(x)) along `axis`."""

    type = "Softmax"
    works_in_place = True
    settings = ("softmax_param",)
    pointwise = True

    @property
    def reads_top(self) -> bool:
        """Backward computes from the result."""
        return True

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.along = self.axis(self.param.softmax_param.axis, bottom[0].ndim)
        if top[0] is not bottom[0]:
            top[0].reshape(bottom[0].shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        softmax(bottom[0].data, self.along, top[0].data)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if propagate_down[0]:
            softmax_backward(top[0].data, top[0].diff, self.along, bottom[0].diff)
