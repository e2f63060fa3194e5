"""The layer type BatchRenorm."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import register
from dragon.memory.blob import Blob
from dragon.memory.storage import Array
from dragon.memory.xp import xp_of
from dragon.normalization.arithmetic import (
    backward_batch,
    backward_global,
    by_channel,
    centre,
    channel_count,
    inverse_std,
    scale_shift,
    subtract_mean,
)
from dragon.normalization.settings import Form, Normalization, batch_renorm
from dragon.proto import dragon_pb2 as pb

__all__ = ["BatchRenorm"]


@register()
class BatchRenorm(BatchStatistics):
    """Batch normalisation corrected towards the running statistics (Ioffe 2017).

    TRAIN: y = (x - mean_B) / std_B * r + d, with r = clip(std_B / std, 1 / R, R) and d = clip((mean_B - mean) / std,
    -D, D) taken as constants in backward. R and D grow linearly from 1 and 0 at iteration `step_to_init` to `r_max` and
    `d_max` at `step_to_r_max` and `step_to_d_max`. Until `step_to_init`, and before there are running statistics, this
    is batch normalisation. TEST normalises by the running statistics.

    Blobs: mean (C), variance (C), factor (1), as in BatchNorm, and iterations (1).
    """

    type = "BatchRenorm"
    settings = ("batch_renorm_param",)
    unlimited = frozenset({"r_max", "d_max"})
    buffers = Form.RENORM.value.buffers

    @classmethod
    def read_settings(cls, param: pb.LayerParameter) -> Normalization:
        return batch_renorm(param)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.check_settings()
        p = self.param.batch_renorm_param
        if p.r_max < 1 or p.d_max < 0:
            self.bad_param(f"r_max must be at least 1 and d_max at least 0, got {p.r_max:g} and {p.d_max:g}")
        channels = (channel_count(bottom[0].shape),)
        for shape, what in ((channels, "mean"), (channels, "variance"), ((1,), "factor"), ((1,), "iterations")):
            self.add_blob(shape, pb.FillerParameter(), what)

    def limits(self, iteration: Array) -> tuple[Array, Array]:
        """R and D at an iteration, each an array of one element, as `iteration`."""
        p = self.param.batch_renorm_param

        def progress(until: int) -> Array:
            fraction: Array = xp_of(iteration).clip((iteration - p.step_to_init) / max(1, until - p.step_to_init), 0, 1)
            return fraction

        return 1 + (p.r_max - 1) * progress(p.step_to_r_max), p.d_max * progress(p.step_to_d_max)

    def _correction(self, mean: Array, inv: Array) -> tuple[Array, Array]:
        """The factors r and d, each (C,), for a batch with this mean and inverse standard deviation."""
        xp = xp_of(mean)
        old_mean, old_var = self.running()
        r_max, d_max = self.limits(self.blobs[3].data)
        old_inv = inverse_std(old_var, self.normalization.eps)
        r, d = xp.clip(old_inv / inv, 1 / r_max, r_max), xp.clip((mean - old_mean) * old_inv, -d_max, d_max)
        known = self.blobs[2].data != 0
        return xp.where(known, r, 1).astype(mean.dtype), xp.where(known, d, 0).astype(mean.dtype)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = by_channel(bottom[0].data), by_channel(top[0].data)
        self.by_running = self.use_global
        if self.by_running:
            mean, var = self.running()
            self.inv = inverse_std(var, self.normalization.eps)
            subtract_mean(x, mean, y)
            scale_shift(y, self.inv, None, y)
            return
        self.centred = xp_of(x).empty_like(x)
        total = self.total
        mean, var, count = centre(x, self.centred, total)
        self.over = None if total is None else (total, count)
        self.inv = inverse_std(var, self.normalization.eps)
        self.r, shift = self._correction(mean, self.inv)
        self.update_running(mean, var, count)
        self.blobs[3].data[...] += 1
        scale_shift(self.centred, self.inv * self.r, shift, y)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if not propagate_down[0]:
            return
        dy, dx = by_channel(top[0].diff), by_channel(bottom[0].diff)
        if self.by_running:
            backward_global(dy, self.inv, None, dx)
        else:
            backward_batch(dy, self.centred, self.inv, self.r, dx, self.over)
