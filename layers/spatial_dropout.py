"""The layer type SpatialDropout."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import TRAIN, register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of

__all__ = ["SpatialDropout"]


@register()
class SpatialDropout(Neuron):
    """In TRAIN whole channels of an item are dropped with probability `dropout_ratio` (Tompson et al. 2015).

    The others are scaled by 1 / (1 - ratio). A channel is kept where its random 32-bit word is at least ratio * 2^32;
    TEST copies. In place or not.
    """

    type = "SpatialDropout"
    settings = ("spatial_dropout_param",)
    is_activation = False
    keeps_signs = True

    @property
    def ratio(self) -> float:
        """Probability that a channel is dropped."""
        return self.param.spatial_dropout_param.dropout_ratio

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not 0 <= self.ratio < 1:
            self.bad_param(f"dropout_ratio must be at least 0 and less than 1, got {self.ratio:g}")
        self._scratch = Scratch()
        self._active = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if bottom[0].ndim < 2:
            self.bad_shape(f"needs a bottom (N, C, ...), got shape {bottom[0].shape}")
        super().reshape(bottom, top)

    def activate(self, x: Array, out: Array) -> None:
        self._active = self.phase == TRAIN and self.ratio > 0
        if not self._active:
            out[...] = x
            return
        mask = self._mask(x)
        words = xp_of(x).asarray(self.rng.raw32(mask.size)).reshape(mask.shape)
        xp_of(x).multiply(words >= int(self.ratio * 2**32), x.dtype.type(1 / (1 - self.ratio)), out=mask)
        xp_of(x).multiply(x, mask, out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        if self._active:
            xp_of(dy).multiply(dy, self._mask(dy), out=out)
        else:
            out[...] = dy

    def _mask(self, like: Array) -> Array:
        """The factor of each channel, in a shape that is broadcast to the bottom, from forward to backward."""
        return self._scratch.get("mask", (*like.shape[:2], *[1] * (like.ndim - 2)), like)
