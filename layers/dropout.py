"""The layer type Dropout."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from dragon.bases.layer import TEST, TRAIN, register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb
from dragon.rng import Stream

__all__ = ["Dropout", "draw_mask"]

_log = logging.getLogger("dragon")


def draw_mask(rng: Stream, ratio: float, scale: float, out: Array) -> None:
    """Write the factor of each element into `out`, by one draw: 0 with probability `ratio`, else `scale`."""
    words = xp_of(out).asarray(rng.raw32(out.size)).reshape(out.shape)
    xp_of(out).multiply(words >= _threshold(ratio), out.dtype.type(scale), out=out)


def _threshold(ratio: float) -> int:
    return int(ratio * 2**32)


@register()
class Dropout(Neuron):
    """In TRAIN each element is dropped with probability `dropout_ratio`, and the others are scaled by 1 / (1 - ratio).

    An element is kept where its random 32-bit word is at least ratio * 2^32; TEST copies. With `scale_train: false`, as
    in forks, TRAIN does not scale and TEST scales by 1 - ratio. In place or not.
    """

    type = "Dropout"
    settings = ("dropout_param",)
    is_activation = False
    keeps_signs = True

    @property
    def ratio(self) -> float:
        """Probability that an element is dropped."""
        return self.param.dropout_param.dropout_ratio

    @property
    def threshold(self) -> int:
        """The smallest random 32-bit word that keeps its element."""
        return _threshold(self.ratio)

    @property
    def scale(self) -> float:
        """The factor of kept elements in TRAIN. Raises PrototxtError for a ratio of 1."""
        if self.ratio == 1:
            self.bad_param("dropout_ratio is 1, which can be tested but not trained")
        return 1 / (1 - self.ratio) if self.scales_train else 1.0

    @property
    def scales_train(self) -> bool:
        """Whether TRAIN scales the kept elements; otherwise TEST scales all of them."""
        return self.param.dropout_param.scale_train

    @property
    def test_scale(self) -> float:
        """The factor of all elements in TEST."""
        return 1.0 if self.scales_train else 1 - self.ratio

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return param.dropout_param.dropout_ratio > 0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if self.ratio == 1 and self.phase == TEST:  # such files run in Caffe
            _log.warning("%s: dropout_ratio is 1, which can be tested but not trained", self.where)
        elif not 0 <= self.ratio < 1:
            self.bad_param(f"dropout_ratio must be at least 0 and less than 1, got {self.ratio:g}")
        self._scratch = Scratch()
        self._active = False

    def activate(self, x: Array, out: Array) -> None:
        self._active = self.phase == TRAIN and self.ratio > 0
        if self._active:
            mask = self._mask(x)
            draw_mask(self.rng, self.ratio, self.scale, mask)
            xp_of(x).multiply(x, mask, out=out)
        elif self.phase == TRAIN or self.scales_train:
            out[...] = x
        else:
            xp_of(x).multiply(x, x.dtype.type(self.test_scale), out=out)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        if self._active:
            xp_of(dy).multiply(dy, self._mask(dy), out=out)
        elif self.phase == TRAIN or self.scales_train:
            out[...] = dy
        else:
            xp_of(dy).multiply(dy, dy.dtype.type(self.test_scale), out=out)

    def mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is dropped or kept, broadcast to that of the bottom."""
        return shape

    def _mask(self, like: Array) -> Array:
        """The factor of each element, from forward to backward."""
        return self._scratch.get("mask", self.mask_shape(like.shape), like)
