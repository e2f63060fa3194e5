"""The layer type Sigmoid, and its function."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Sigmoid", "sigmoid"]


def sigmoid(x: Array, out: Array) -> None:
    """Write 1 / (1 + exp(-x)) to `out`, which may be `x`; computed by tanh, which cannot overflow."""
    xp = xp_of(x)
    xp.multiply(x, x.dtype.type(0.5), out=out)
    xp.tanh(out, out=out)
    out *= out.dtype.type(0.5)
    out += out.dtype.type(0.5)


@register()
class Sigmoid(Neuron):
    """y = 1 / (1 + exp(-x))."""

    type = "Sigmoid"
    settings = ("sigmoid_param",)
    backward_from_top = True

    @property
    def reads_top(self) -> bool:
        """Backward computes from the result."""
        return True

    @property
    def top_range(self) -> tuple[float, float]:
        """The open interval (0, 1)."""
        return 0.0, 1.0

    def activate(self, x: Array, out: Array) -> None:
        sigmoid(x, out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp_of(dy).multiply(dy, y * (1 - y), out=out)
