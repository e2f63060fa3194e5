"""The layer type Exp."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Exp"]


@register()
class Exp(Neuron):
    """y = base^(scale * x + shift); a base of -1 stands for e."""

    type = "Exp"
    settings = ("exp_param",)
    is_activation = False

    @property
    def reads_top(self) -> bool:
        """Backward computes from the result."""
        return True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.exp_param
        if p.base != -1 and not p.base > 0:
            self.bad_param(f"base must be positive, or -1 for e, got {p.base:g}")
        log_base = 1.0 if p.base == -1 else math.log(p.base)
        self.inner = log_base * p.scale
        self.offset = log_base * p.shift

    def activate(self, x: Array, out: Array) -> None:
        xp = xp_of(x)
        xp.multiply(x, x.dtype.type(self.inner), out=out)
        out += out.dtype.type(self.offset)
        xp.exp(out, out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp_of(dy).multiply(dy, y * dy.dtype.type(self.inner), out=out)
