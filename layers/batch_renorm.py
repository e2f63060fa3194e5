"""BatchRenorm: batch normalisation corrected towards the running statistics (Ioffe 2017).

TRAIN: y = (x - mean_B) / std_B * r + d, with r = clip(std_B / std, 1 / R, R) and d = clip((mean_B - mean) / std, -D, D)
taken as constants in backward. R and D grow linearly from 1 and 0 at iteration `step_to_init` to `r_max` and `d_max` at
`step_to_r_max` and `step_to_d_max`; until `step_to_init`, and before there are running statistics, this is batch
normalisation. TEST normalises by the running statistics. Blobs: mean (C), variance (C), factor (1), iterations (1); the
first three as BatchNorm has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dragon.bases.layer import TEST, Layer, register
from dragon.bases.normalization import (
    accumulate,
    backward_batch,
    backward_global,
    by_channel,
    centre,
    channel_count,
    inverse_std,
    read_running,
    scale_shift,
    subtract_mean,
)
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.proto import dragon_pb2 as pb

__all__ = ["BatchRenorm"]


@register()
class BatchRenorm(Layer):
    type = "BatchRenorm"
    settings = ("batch_renorm_param",)
    defaults: ClassVar[Mapping[str, str]] = {"use_global_stats": "by phase"}
    pointwise = True
    normalises = "batch"
    keeps_statistics = True
    family = "normalisation"
    buffers = frozenset({0, 1, 2, 3})

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.batch_renorm_param
        if not p.eps >= 0:
            self.bad_param(f"eps must not be negative, got {p.eps:g}")
        if not 0 <= p.moving_average_fraction <= 1:
            self.bad_param(f"moving_average_fraction must be between 0 and 1, got {p.moving_average_fraction:g}")
        if p.r_max < 1 or p.d_max < 0:
            self.bad_param(f"r_max must be at least 1 and d_max at least 0, got {p.r_max:g} and {p.d_max:g}")
        channels = (channel_count(bottom[0].shape),)
        for shape, what in ((channels, "mean"), (channels, "variance"), ((1,), "factor"), ((1,), "iterations")):
            self.add_blob(shape, pb.FillerParameter(), what)

    @property
    def use_global(self) -> bool:
        p = self.param.batch_renorm_param
        return p.use_global_stats if p.HasField("use_global_stats") else self.phase == TEST

    def limits(self, iteration: Array) -> tuple[Array, Array]:
        """R and D at an iteration; each is one element."""
        p = self.param.batch_renorm_param

        def risen(until: int) -> Array:
            part: Array = xp_of(iteration).clip((iteration - p.step_to_init) / max(1, until - p.step_to_init), 0, 1)
            return part

        return 1 + (p.r_max - 1) * risen(p.step_to_r_max), p.d_max * risen(p.step_to_d_max)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if not shape or channel_count(shape) != self.blobs[0].count or not bottom[0].count:
            self.bad_shape(f"has statistics of {self.blobs[0].count} channels, got a bottom of shape {shape}")
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def _correction(self, mean: Array, inv: Array) -> tuple[Array, Array]:
        """r and d for a batch of this mean and inverse deviation."""
        eps = self.param.batch_renorm_param.eps
        xp = xp_of(mean)
        weight = self.blobs[2].data
        old_mean, old_var = read_running(pb.CAFFE, (self.blobs[0].data, self.blobs[1].data), weight)
        r_max, d_max = self.limits(self.blobs[3].data)
        old_inv = inverse_std(old_var, eps)
        r, d = xp.clip(old_inv / inv, 1 / r_max, r_max), xp.clip((mean - old_mean) * old_inv, -d_max, d_max)
        known = weight != 0
        return xp.where(known, r, 1).astype(mean.dtype), xp.where(known, d, 0).astype(mean.dtype)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.batch_renorm_param
        x, y = by_channel(bottom[0].data), by_channel(top[0].data)
        self.by_running = self.use_global
        if self.by_running:
            running = (self.blobs[0].data, self.blobs[1].data)
            mean, var = read_running(pb.CAFFE, running, self.blobs[2].data)
            self.inv = inverse_std(var, p.eps)
            subtract_mean(x, mean, y)
            scale_shift(y, self.inv, None, y)
            return
        self.centred = xp_of(x).empty_like(x)
        mean, var = centre(x, self.centred)
        self.inv = inverse_std(var, p.eps)
        self.r, shift = self._correction(mean, self.inv)
        accumulate(
            pb.CAFFE,
            (self.blobs[0].data, self.blobs[1].data),
            self.blobs[2].data,
            (mean, var),
            x.shape[0] * x.shape[2],
            p.moving_average_fraction,
        )
        self.blobs[3].data[...] += 1
        scale_shift(self.centred, self.inv * self.r, shift, y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = by_channel(top[0].diff), by_channel(bottom[0].diff)
        if self.by_running:
            backward_global(dy, self.inv, None, dx)
        else:
            backward_batch(dy, self.centred, self.inv, self.r, dx)
