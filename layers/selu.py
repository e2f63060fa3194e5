"""The layer type SeLU, with the alias SeLu."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.layers.elu import ELU
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["SeLU"]


@register("SeLu")
class SeLU(ELU):
    """y = lambda * (x for x > 0, else alpha * (exp(x) - 1)) (Klambauer et al. 2017)."""

    type = "SeLU"
    settings = ("selu_param",)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.selu_param
        self.alpha: float = p.alpha
        self.scale: float = getattr(p, "lambda")  # a word of Python
        self.needs_input = self.alpha < 0 or self.scale <= 0  # otherwise the output has the sign of the input

    def activate(self, x: Array, out: Array) -> None:
        super().activate(x, out)
        xp_of(x).multiply(out, x.dtype.type(self.scale), out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        scale = dy.dtype.type(self.scale)
        if x is y:  # in place: the gradient of ELU reads its own result
            x = y = y / scale
        super().gradient(x, y, dy, out)
        xp_of(dy).multiply(out, scale, out=out)
