"""The layer type HardSigmoid, and its function."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["HardSigmoid", "hard_sigmoid"]


def hard_sigmoid(x: Array) -> Array:
    """A new array with clip(x / 6 + 1/2, 0, 1)."""
    value: Array = xp_of(x).clip(x * x.dtype.type(1 / 6) + x.dtype.type(0.5), 0, 1)
    return value


@register()
class HardSigmoid(Neuron):
    """y = clip(x / 6 + 1/2, 0, 1), the piecewise linear sigmoid of MobileNetV3 (Howard et al. 2019)."""

    type = "HardSigmoid"

    @property
    def reads_top(self) -> bool:
        """Backward computes from the result."""
        return True

    @property
    def top_range(self) -> tuple[float, float]:
        """From 0 to 1, both included."""
        return 0.0, 1.0

    def activate(self, x: Array, out: Array) -> None:
        out[...] = hard_sigmoid(x)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp_of(dy).multiply(dy, ((y > 0) & (y < 1)) * dy.dtype.type(1 / 6), out=out)
