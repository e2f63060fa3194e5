"""The layer type Swish."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.layers.sigmoid import sigmoid
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Swish"]


@register()
class Swish(Neuron):
    """y = x * sigmoid(beta * x) (Ramachandran et al. 2017)."""

    type = "Swish"
    settings = ("swish_param",)
    needs_input = True

    @property
    def beta(self) -> float:
        """Factor of x in the sigmoid."""
        return self.param.swish_param.beta

    def _gate(self, x: Array) -> Array:
        gate: Array = xp_of(x).asarray(x * x.dtype.type(self.beta))  # the product of a 0-d array is a scalar
        sigmoid(gate, gate)
        return gate

    def activate(self, x: Array, out: Array) -> None:
        xp_of(x).multiply(x, self._gate(x), out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        gate = self._gate(x)
        scaled = x * gate * dy.dtype.type(self.beta)
        xp_of(dy).multiply(dy, scaled + gate * (1 - scaled), out=out)
