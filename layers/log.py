"""The layer type Log."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["Log"]


@register()
class Log(Neuron):
    """y = log(scale * x + shift) to `base`; a base of -1 stands for e."""

    type = "Log"
    settings = ("log_param",)
    is_activation = False
    needs_input = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.log_param
        if p.base != -1 and (not p.base > 0 or p.base == 1):
            self.bad_param(f"base must be positive and not 1, or -1 for e, got {p.base:g}")
        self.outer = 1.0 if p.base == -1 else 1 / math.log(p.base)
        self.scale, self.shift = p.scale, p.shift

    def _inner(self, x: Array) -> Array:
        inner: Array = x * x.dtype.type(self.scale) + x.dtype.type(self.shift)
        return inner

    def activate(self, x: Array, out: Array) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN or infinite outside of the domain
            xp_of(x).multiply(xp_of(x).log(self._inner(x)), x.dtype.type(self.outer), out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            xp_of(dy).multiply(dy, dy.dtype.type(self.outer * self.scale) / self._inner(x), out=out)
