"""Sigmoid: y = 1 / (1 + exp(-x))."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Sigmoid", "sigmoid"]


def sigmoid(x: Array, out: Array) -> None:
    """Write the logistic function of `x` into `out`, which may be `x`; as a tanh it cannot overflow."""
    xp = xp_of(x)
    xp.multiply(x, x.dtype.type(0.5), out=out)
    xp.tanh(out, out=out)
    out *= out.dtype.type(0.5)
    out += out.dtype.type(0.5)


@register()
class Sigmoid(Neuron):
    type = "Sigmoid"
    settings = ("sigmoid_param",)
    from_result = True

    def activate(self, x: Array, out: Array) -> None:
        sigmoid(x, out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp_of(dy).multiply(dy, y * (1 - y), out=out)
