"""The layer type HardSwish."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.layers.hard_sigmoid import hard_sigmoid
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["HardSwish"]


@register()
class HardSwish(Neuron):
    """y = x * clip(x / 6 + 1/2, 0, 1) (MobileNetV3, Howard et al. 2019)."""

    type = "HardSwish"
    needs_input = True

    def activate(self, x: Array, out: Array) -> None:
        xp_of(x).multiply(x, hard_sigmoid(x), out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp = xp_of(dy)
        sloped = (x > -3) & (x < 3)
        xp.multiply(dy, hard_sigmoid(x) + xp.where(sloped, x * x.dtype.type(1 / 6), 0), out=out)
