"""What the split layer (BatchNorm) and the merged layer (BN) have in common."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar

from dragon.bases.layer import TEST, Context, Layer
from dragon.bases.normalization import (
    accumulate,
    backward_batch,
    backward_global,
    by_channel,
    centre,
    channel_count,
    channel_dot,
    channel_sum,
    inverse_std,
    read_running,
    scale_shift,
    subtract_mean,
)
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

__all__ = ["BatchStatistics"]

_log = logging.getLogger("dragon")


class BatchStatistics(Layer):
    """Normalise each channel over the batch (or by running statistics), then perhaps scale and shift.

    bottom, top: (N, C, ...) or (N,), in place or not. A subclass's `setup` makes the blobs and says which
    is which.
    """

    settings: ClassVar[tuple[str, ...]] = ("batch_norm_param",)
    defaults: ClassVar[Mapping[str, str]] = {"use_global_stats": "by phase"}
    pointwise = True
    normalises = "batch"
    keeps_statistics = True
    family = "normalisation"

    def __init__(self, param: pb.LayerParameter, phase: int, context: Context | None = None) -> None:
        super().__init__(param, phase, context)
        self.mean_index = self.variance_index = 0
        self.weight_index: int | None = None
        self.affine_index: tuple[int, int] | None = None
        self._scratch = Scratch()
        self._warned: set[str] = set()

    # -- settings: for this layer, and for engines that compute it their own way ------------------------------
    @property
    def eps(self) -> float:
        return self.param.batch_norm_param.eps

    @property
    def keep(self) -> float:
        """Weight of the history in the running average."""
        return self.param.batch_norm_param.moving_average_fraction

    @property
    def rule(self) -> int:
        """An AverageRule."""
        return self.param.batch_norm_param.average

    @property
    def use_global(self) -> bool:
        """Whether to normalise by running statistics now. The phase may change between two runs."""
        p = self.param.batch_norm_param
        by_phase = self.phase == TEST
        if not p.HasField("use_global_stats"):
            return by_phase
        if p.use_global_stats != by_phase:
            self._warn(
                f"use_global_stats: {str(p.use_global_stats).lower()} in phase {pb.Phase.Name(self.phase)}; "
                "leave it unset to let the phase decide"
            )
        return p.use_global_stats

    @property
    def affine(self) -> tuple[Blob, Blob] | None:
        """The learned scale (gamma) and shift (beta), if the layer has them."""
        if self.affine_index is None:
            return None
        gamma, beta = self.affine_index
        return self.blobs[gamma], self.blobs[beta]

    def running(self) -> tuple[Array, Array]:
        """The mean and variance (C,) that TEST normalises with."""
        return read_running(self.rule, self._running(), self._weight())

    def peek_running(self) -> tuple[Array, Array]:
        """The same from the host's newest values, without counting as a write."""
        blobs = [self.blobs[i] for i in (self.mean_index, self.variance_index)]
        mean, variance = (blob.peek().reshape(-1) for blob in blobs)
        weight = None if self.weight_index is None else self.blobs[self.weight_index].peek()
        return read_running(self.rule, (mean, variance), weight)

    def update_running(self, mean: Array, variance: Array, count: int) -> None:
        """Let a batch of `count` values per channel, with its biased variance, move the running average."""
        accumulate(self.rule, self._running(), self._weight(), (mean, variance), count, self.keep)

    @property
    def is_weighted_sum(self) -> bool:
        """Whether the running average is old * average + new * batch with factors that do not change."""
        return type(self).update_running is BatchStatistics.update_running and self.rule != pb.CUMULATIVE

    def set_running(self, mean: Array, variance: Array) -> None:
        """Replace the running average by known statistics."""
        for old, new in zip(self._running(), (mean, variance), strict=True):
            old[...] = new
        weight = self._weight()
        if weight is not None:
            weight[...] = 1

    def check_count(self, count: int) -> None:
        """Warn, once, when the batch has a single value per channel: its variance is 0 and all becomes beta."""
        if count == 1:
            self._warn("one value per channel: the variance of the batch is 0")

    def _running(self) -> tuple[Array, Array]:
        mean, variance = self.blobs[self.mean_index], self.blobs[self.variance_index]
        return mean.data.reshape(-1), variance.data.reshape(-1)

    def _weight(self) -> Array | None:
        return None if self.weight_index is None else self.blobs[self.weight_index].data

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning("%s: %s", self.where, message)

    def check_settings(self) -> None:
        """PrototxtError for values outside their range."""
        if not self.eps >= 0:
            self.bad_param(f"eps must not be negative, got {self.eps:g}")
        if not 0 <= self.keep <= 1:
            self.bad_param(f"the history's weight must be between 0 and 1, got {self.keep:g}")

    # -- shapes and computation -------------------------------------------------------------------------------
    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if not shape:
            self.bad_shape("needs a bottom with at least 1 axis, got a scalar")
        expected = self.blobs[self.mean_index].count
        if channel_count(shape) != expected:
            self.bad_shape(f"has statistics of {expected} channels, got a bottom of shape {shape}")
        if bottom[0].count == 0:
            self.bad_shape(f"cannot take statistics of an empty bottom of shape {shape}")
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = by_channel(bottom[0].data), by_channel(top[0].data)
        self._by_running = self.use_global
        gamma, beta = self._affine_data()
        # backward needs x - mean; in place it is gone by then, and the batch's is at hand
        keep = not self._by_running or (top[0] is bottom[0] and gamma is not None)
        d = self._scratch.get("d", x.shape, x) if keep else y
        if self._by_running:
            self._mean, var = self.running()
            subtract_mean(x, self._mean, d)
        else:
            self._mean, var = centre(x, d)
            count = x.shape[0] * x.shape[2]
            self.check_count(count)
            self.update_running(self._mean, var, count)
        self._inv = inverse_std(var, self.eps)
        scale_shift(d, self._inv if gamma is None else self._inv * gamma, beta, y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = by_channel(top[0].diff)
        dx = by_channel(bottom[0].diff) if propagate_down[0] else None
        gamma, _ = self._affine_data()
        if self._by_running:
            if self.affine is not None:
                d = self._scratch.get("d", dy.shape, dy)
                if top[0] is not bottom[0]:
                    subtract_mean(by_channel(bottom[0].data), self._mean, d)
                self._learn(self._inv * channel_dot(dy, d), channel_sum(dy))
            if dx is not None:
                backward_global(dy, self._inv, gamma, dx)
            return
        d = self._scratch.get("d", dy.shape, dy)
        self._learn(*backward_batch(dy, d, self._inv, gamma, dx))

    def _affine_data(self) -> tuple[Array | None, Array | None]:
        if self.affine is None:
            return None, None
        gamma, beta = self.affine
        return gamma.data.reshape(-1), beta.data.reshape(-1)

    def _learn(self, dgamma: Array, dbeta: Array) -> None:
        if self.affine is not None:
            for blob, diff in zip(self.affine, (dgamma, dbeta), strict=True):
                blob.diff[...] += diff.reshape(blob.shape)
