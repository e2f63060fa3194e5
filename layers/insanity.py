"""The layer type Insanity."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import TRAIN, register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["Insanity"]


@register()
class Insanity(Neuron):
    """y = x for x > 0, else x / s: the randomised leaky ReLU of caffe-windows (Xu et al. 2015).

    In TRAIN s is drawn for each element, uniform between `lb` and `ub`; in TEST it is their logarithmic mean
    (ub - lb) / ln(ub / lb), so that 1 / s is the mean of the drawn slopes.
    """

    type = "Insanity"
    settings = ("insanity_param",)

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.insanity_param
        self.low, self.high = p.lb, p.ub
        if not 0 < self.low < self.high:
            self.bad_param(f"needs 0 < lb < ub, got {self.low:g} and {self.high:g}")
        self.mean = (self.high - self.low) / math.log(self.high / self.low)
        self._scratch = Scratch()

    def activate(self, x: Array, out: Array) -> None:
        xp = xp_of(x)
        divisor = self._divisor(x)
        if self.phase == TRAIN:
            words = xp.asarray(self.rng.raw32(x.size)).reshape(x.shape)
            divisor[...] = self.low + (self.high - self.low) / 2**32 * (words + 0.5)
        else:
            divisor[...] = self.mean
        divisor[...] = xp.where(x > 0, 1, divisor)
        xp.divide(x, divisor, out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        xp_of(dy).divide(dy, self._divisor(dy), out=out)

    def _divisor(self, like: Array) -> Array:
        """What each element was divided by, from forward to backward."""
        return self._scratch.get("divisor", like.shape, like)
