"""The layer type Power."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Power"]


@register()
class Power(Neuron):
    """y = (shift + scale * x)^power."""

    type = "Power"
    settings = ("power_param",)
    is_activation = False

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.power_param
        self.power, self.scale, self.shift = p.power, p.scale, p.shift
        self.needs_input = self.power != 1

    def _inner(self, x: Array) -> Array:
        inner: Array = x * x.dtype.type(self.scale) + x.dtype.type(self.shift)
        return inner

    def activate(self, x: Array, out: Array) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN for a root of a negative number
            inner = self._inner(x)
            out[...] = inner if self.power == 1 else inner ** x.dtype.type(self.power)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        factor = dy.dtype.type(self.power * self.scale)
        if factor == 0 or self.power == 1:
            xp_of(dy).multiply(dy, factor, out=out)
            return
        with np.errstate(divide="ignore", invalid="ignore"):
            xp_of(dy).multiply(dy, factor * self._inner(x) ** dy.dtype.type(self.power - 1), out=out)
