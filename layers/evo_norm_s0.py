"""The layer type EvoNormS0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dragon.bases.layer import Layer, register
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.normalization.arithmetic import by_channel, channel_dot, channel_sum, scale_shift
from dragon.proto import dragon_pb2 as pb

__all__ = ["EvoNormS0"]


@register()
class EvoNormS0(Layer):
    """Normalisation and activation in one, found by search: EvoNorm-S0 (Liu et al. 2020, arXiv 2004.02967).

    y = gamma x sigmoid(v x) / sqrt(var + eps) + beta. var is the (biased) variance of an item's group of channels, over
    their spatial positions, so nothing depends on the batch. No ReLU follows. bottom: (N, C, ...), in place or not;
    `num_groups` must divide C. TRAIN and TEST do the same.

    Blobs: gamma (C), beta (C) and v (C).
    """

    type = "EvoNormS0"
    settings = ("evo_norm_s0_param",)
    is_activation = True
    works_in_place = True
    pointwise = True
    family = "normalisation"

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.evo_norm_s0_param
        self.groups: int = p.num_groups
        if self.groups < 1:
            self.bad_param("num_groups must be at least 1")
        if not p.eps >= 0:
            self.bad_param(f"eps must not be negative, got {p.eps:g}")
        channels = self._channels(bottom[0].shape)
        one = pb.FillerParameter(value=1)
        self.add_blob(channels, p.scale_filler if p.HasField("scale_filler") else one, "scale")
        self.add_blob(channels, p.bias_filler, "bias")
        self.add_blob(channels, p.v_filler if p.HasField("v_filler") else one, "v")
        self._scratch = Scratch()

    def _channels(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) < 2 or shape[1] % self.groups:
            self.bad_shape(f"{how_many(self.groups, 'group')} must divide the channels of a bottom of shape {shape}")
        return shape[1:2]

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if self._channels(shape) != self.blobs[0].shape:
            self.bad_shape(f"has scales for {how_many(self.blobs[0].count, 'channel')}, got a bottom of shape {shape}")
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def _rows(self, x: Array) -> Array:
        """An array (N, C, S) with one row for each group."""
        return x.reshape(x.shape[0] * self.groups, math.prod(x.shape[1:]) // self.groups)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = by_channel(bottom[0].data)
        xp = xp_of(x)
        rows = self._rows(x)
        self._count = max(1, rows.shape[1])
        centred = self._scratch.get("centred", x.shape, x)
        mean = rows.sum(axis=1, keepdims=True) / self._count
        xp.subtract(rows, mean, out=self._rows(centred))
        squares = xp.einsum("ij,ij->i", self._rows(centred), self._rows(centred)) / self._count
        eps = x.dtype.type(self.param.evo_norm_s0_param.eps)
        self._inv = (1 / xp.sqrt(squares + eps))[:, None]
        saved = self._scratch.get("x", x.shape, x)
        saved[...] = x
        gate = self._scratch.get("gate", x.shape, x)
        xp.tanh(x * (self.blobs[2].data[:, None] / 2), out=gate)  # sigmoid(t) = (1 + tanh(t / 2)) / 2
        gate += 1
        gate *= x.dtype.type(0.5)
        normal = self._scratch.get("normal", x.shape, x)
        xp.multiply(saved, gate, out=normal)
        self._rows(normal)[...] *= self._inv
        scale_shift(normal, self.blobs[0].data, self.blobs[1].data, by_channel(top[0].data))

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = by_channel(top[0].diff)
        xp = xp_of(dy)
        x, centred, gate, normal = (self._scratch.get(n, dy.shape, dy) for n in ("x", "centred", "gate", "normal"))
        gamma, beta, v = self.blobs
        gamma.diff[...] += channel_dot(dy, normal)
        beta.diff[...] += channel_sum(dy)
        d = dy * gamma.data[:, None]  # the gradient of x sigmoid(v x) / sqrt(var + eps)
        through = xp.einsum("ij,ij->i", self._rows(d), self._rows(normal))[:, None] * (self._inv**2 / self._count)
        self._rows(d)[...] *= self._inv
        slope = gate * (1 - gate)
        slope *= x
        v.diff[...] += channel_dot(d, slope * x)
        if propagate_down[0]:
            slope *= v.data[:, None]
            slope += gate
            d *= slope
            self._rows(d)[...] -= self._rows(centred) * through
            by_channel(bottom[0].diff)[...] = d
