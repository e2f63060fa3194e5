"""The layer type Mish."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Mish"]


@register()
class Mish(Neuron):
    """y = x * tanh(log(1 + exp(x))) (Misra 2019)."""

    type = "Mish"
    needs_input = True

    def _gate(self, x: Array) -> tuple[Array, Array]:
        """tanh(log(1 + e^x)) and the logistic function, without an overflow: both by e = exp(-|x|)."""
        xp = xp_of(x)
        e = xp.exp(-abs(x))
        above = x > 0
        # with n = e^x (e^x + 2) the gate is n / (n + 2); above 0 both are divided by e^2x
        gate = xp.where(above, (1 + 2 * e) / (1 + 2 * e + 2 * e * e), e * (e + 2) / (e * (e + 2) + 2))
        return gate, xp.where(above, 1, e) / (1 + e)

    def activate(self, x: Array, out: Array) -> None:
        xp_of(x).multiply(x, self._gate(x)[0], out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        gate, logistic = self._gate(x)
        xp_of(dy).multiply(dy, gate + x * logistic * (1 - gate * gate), out=out)
