"""The layer type Clip."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Clip"]


@register()
class Clip(Neuron):
    """y = min(max(x, `min`), `max`); the gradient is 0 outside of the range."""

    type = "Clip"
    settings = ("clip_param",)
    unlimited = frozenset({"min", "max"})
    needs_input = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not self.param.HasField("clip_param"):
            self.bad_param("needs clip_param { min: ... max: ... }")
        p = self.param.clip_param
        if not p.min <= p.max:
            self.bad_param(f"min must not exceed max, got {p.min:g} and {p.max:g}")
        self.low, self.high = p.min, p.max

    @property
    def top_range(self) -> tuple[float, float]:
        """From `min` to `max`, both included."""
        return self.low, self.high

    def activate(self, x: Array, out: Array) -> None:
        xp_of(x).clip(x, x.dtype.type(self.low), x.dtype.type(self.high), out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp_of(dy).multiply(dy, (x >= self.low) & (x <= self.high), out=out)
