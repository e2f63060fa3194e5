"""The layer type ELU."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["ELU"]


@register()
class ELU(Neuron):
    """y = x for x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2015)."""

    type = "ELU"
    settings = ("elu_param",)
    backward_from_top = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.alpha: float = self.param.elu_param.alpha
        self.needs_input = self.alpha < 0  # otherwise the output has the sign of the input

    def activate(self, x: Array, out: Array) -> None:
        xp = xp_of(x)
        below = xp.expm1(xp.minimum(x, 0)) * x.dtype.type(self.alpha)
        out[...] = xp.where(x > 0, x, below)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp = xp_of(dy)
        alpha = dy.dtype.type(self.alpha)
        below = y + alpha if x is y else xp.exp(xp.minimum(x, 0)) * alpha
        xp.multiply(dy, xp.where(x > 0, dy.dtype.type(1), below), out=out)
