"""The layer type NoisyBN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragon.bases.layer import TRAIN, register
from dragon.bases.neuron import Neuron
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.normalization.arithmetic import by_channel
from dragon.proto import dragon_pb2 as pb

__all__ = ["NoisyBN"]


@register()
class NoisyBN(Neuron):
    """Noise behind a batch normalisation whose distribution changes from step to step (Santurkar et al. 2018, 2.2).

    In TRAIN each channel draws a mean shift mu ~ U(-shift, shift) and a mean scale sigma ~ U(scale_min, scale_max) in
    each step, and each element its own m ~ U(mu - shift_spread, mu + shift_spread) and s ~ N(sigma, scale_std):
    y = s * x + m. TEST copies. The draws are no function of x: the gradient is s * dy. It stands behind a BN, or behind
    the Scale of a BatchNorm, in place or not. bottom: (N, C, ...) or (N,), which is one channel.
    """

    type = "NoisyBN"
    settings = ("noisy_bn_param",)
    is_activation = False

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        return True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.noisy_bn_param
        for field in ("shift", "shift_spread", "scale_std"):
            value = getattr(p, field)
            if value < 0:
                self.bad_param(f"{field} must not be negative, got {value:g}")
        if p.scale_min > p.scale_max:
            self.bad_param(f"scale_min must be at most scale_max, got {p.scale_min:g} and {p.scale_max:g}")
        self._scratch = Scratch()
        self._active = False

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if not bottom[0].shape:
            self.bad_shape("needs a bottom with at least 1 axis, got a scalar")
        super().reshape(bottom, top)

    def activate(self, x: Array, out: Array) -> None:
        self._active = self.phase == TRAIN
        if not self._active:
            out[...] = x
            return
        scale, shift = self._draw(*by_channel(x).shape)
        self._scale(x)[...] = xp_of(x).asarray(scale).reshape(x.shape)
        xp_of(x).multiply(x, self._scale(x), out=out)
        out += xp_of(x).asarray(shift).astype(x.dtype).reshape(x.shape)

    def gradient(self, x: Array, y: Array, dy: Array, out: Array) -> None:
        if self._active:
            xp_of(dy).multiply(dy, self._scale(dy), out=out)
        else:
            out[...] = dy

    def _draw(self, items: int, channels: int, size: int) -> tuple[Array, Array]:
        """Scale and shift of each element, (N, C, S), from one draw of the stream: float32 whatever the net's type."""
        p, random = self.param.noisy_bn_param, self.rng.generator()

        def uniform(*shape: int) -> Array:
            return random.random(shape, np.float32)

        mu = (2 * uniform(channels, 1) - 1) * p.shift
        sigma = p.scale_min + (p.scale_max - p.scale_min) * uniform(channels, 1)
        shift = mu + (2 * uniform(items, channels, size) - 1) * p.shift_spread
        scale = sigma + p.scale_std * random.standard_normal((items, channels, size), np.float32)
        return scale, shift

    def _scale(self, like: Array) -> Array:
        return self._scratch.get("scale", like.shape, like)
