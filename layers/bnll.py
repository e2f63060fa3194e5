"""The layer type BNLL, with the alias Softplus."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["BNLL"]


@register("Softplus")
class BNLL(Neuron):
    """y = log(1 + exp(x)), the softplus function."""

    type = "BNLL"
    needs_input = True

    def activate(self, x: Array, out: Array) -> None:
        xp = xp_of(x)
        xp.logaddexp(x, x.dtype.type(0), out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp = xp_of(dy)
        xp.multiply(dy, xp.exp(-xp.logaddexp(-x, x.dtype.type(0))), out=out)  # the sigmoid of x
