"""The layer type TanH."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["TanH"]


@register()
class TanH(Neuron):
    """y = tanh(x)."""

    type = "TanH"
    settings = ("tanh_param",)
    backward_from_top = True

    @property
    def reads_top(self) -> bool:
        """Backward computes from the result."""
        return True

    @property
    def top_range(self) -> tuple[float, float]:
        """The open interval (-1, 1)."""
        return -1.0, 1.0

    def activate(self, x: Array, out: Array) -> None:
        xp_of(x).tanh(x, out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp_of(dy).multiply(dy, 1 - y * y, out=out)
