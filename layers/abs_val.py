"""The layer type AbsVal."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["AbsVal"]


@register()
class AbsVal(Neuron):
    """y = |x|; the derivative at 0 is 0."""

    type = "AbsVal"
    needs_input = True

    def activate(self, x: Array, out: Array) -> None:
        xp_of(x).absolute(x, out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp = xp_of(dy)
        xp.multiply(dy, xp.sign(x), out=out)
