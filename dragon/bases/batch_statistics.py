"""Base of the layers that normalise by statistics of the batch: BatchNorm, BN, BatchRenorm."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeGuard

from dragon.bases.layer import TEST, Context, Layer
from dragon.bases.registry import class_of
from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.memory.scratch import Scratch
from dragon.memory.storage import Array
from dragon.normalization.arithmetic import (
    affine_diffs,
    backward_batch,
    backward_global,
    by_channel,
    centre,
    channel_count,
    inverse_std,
    scale_shift,
    subtract_mean,
)
from dragon.normalization.settings import Normalization
from dragon.proto import dragon_pb2 as pb
from dragon.share import Total

__all__ = ["SYNCHRONISED", "BatchStatistics", "averages", "normalization_of"]

SYNCHRONISED = "SyncBN"  # the type that asks for statistics over the rows of all ranks

_log = logging.getLogger("dragon")


class BatchStatistics(Layer):
    """Normalise each channel over the batch (or by running statistics), then perhaps scale and shift.

    bottom, top: (N, C, ...) or (N,), in place or not. A subclass gives `read_settings`, and makes the blobs in `setup`.
    Raises PrototxtError for settings out of range, ShapeError for a bottom that is empty or has other channels.
    """

    works_in_place = True
    settings: ClassVar[tuple[str, ...]] = ("batch_norm_param",)
    defaults: ClassVar[Mapping[str, str]] = {"use_global_stats": "by phase"}
    pointwise = True
    keeps_statistics = True
    removes_mean = True
    by_formula: ClassVar[bool] = True  # false for a class with its own forward
    family = "normalisation"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "forward" in vars(cls) and "by_formula" not in vars(cls):
            cls.by_formula = False

    def __init__(self, param: pb.LayerParameter, phase: int, context: Context | None = None) -> None:
        super().__init__(param, phase, context)
        self.normalization = self.read_settings(param)
        self.buffers = self.normalization.blobs.buffers
        self._scratch = Scratch()
        self._warned: set[str] = set()
        self._over: tuple[Total, int] | None = None  # what adds up over the ranks, and their values per channel

    @classmethod
    def differs_by_phase(cls, param: pb.LayerParameter) -> bool:
        settings = cls.read_settings(param)
        return settings.averages and settings.running is None

    @classmethod
    def read_settings(cls, param: pb.LayerParameter) -> Normalization:
        """The settings of a layer of this class, by one of the readers in `dragon.normalization.settings`."""
        raise NotImplementedError

    def check_settings(self) -> None:
        """Raise PrototxtError for values out of range; warn where public files with such a value run in Caffe."""
        n = self.normalization
        if not n.eps >= 0:
            self.bad_param(f"eps must not be negative, got {n.eps:g}")
        if not 0 <= n.fraction <= 1:
            wrong = f"{n.fraction_field} must be between 0 and 1, got {n.fraction:g}"
            if not n.fraction_is_caffes:
                self.bad_param(wrong)
            self._warn(f"{wrong}; the running statistics follow the formula all the same")

    # -- for this layer, and for engines with their own kernels ----------------------------------------
    @property
    def use_global(self) -> bool:
        """Whether the next run normalises by running statistics. The phase may change between runs."""
        setting, by_phase = self.normalization.use_global_stats, self.phase == TEST
        if setting is not None and setting != by_phase:
            self._warn(
                f"use_global_stats: {str(setting).lower()} in phase {pb.Phase.Name(self.phase)}; "
                "leave it unset to let the phase decide"
            )
        return self.normalization.by_running(self.phase)

    @property
    def by_kernels(self) -> bool:
        """Whether engines may compute the next run by kernels of their own, which know only the rank's whole batch."""
        return self.by_formula and (self.by_own_batch or self.use_global)

    @property
    def by_own_batch(self) -> bool:
        """Whether TRAIN takes statistics over the rank's whole batch: not of groups of it, or over other ranks too."""
        return not self.normalization.ghost_batch and self.total is None

    @property
    def total(self) -> Total | None:
        """Adds up over the ranks whose rows are normalised together; None: this rank's own, or groups of them."""
        share = self.context.share
        asked = share.synchronised or self.param.type == SYNCHRONISED
        return share.total if asked and not self.normalization.ghost_batch else None

    def let_phase_decide(self) -> None:
        """Ignore use_global_stats from now on: the phase alone decides which statistics are used."""
        self.normalization = self.normalization.by_phase()
        self.context.space.exchanged()

    @property
    def affine(self) -> tuple[Blob, Blob] | None:
        """The blobs of the learned scale (gamma) and shift (beta); None for a layer without them."""
        at = self.normalization.blobs
        if at.gamma is None or at.beta is None:
            return None
        return self.blobs[at.gamma], self.blobs[at.beta]

    @property
    def statistics(self) -> tuple[Blob, Blob, Blob | None]:
        """The blobs of running mean, running variance and their weight (None in forms without one).

        Only for layers that keep running statistics.
        """
        at = self.normalization.blobs
        assert at.mean is not None, "a form without running statistics"
        assert at.variance is not None
        return self.blobs[at.mean], self.blobs[at.variance], None if at.weight is None else self.blobs[at.weight]

    def running(self) -> tuple[Array, Array]:
        """The running mean and variance, each (C,), that TEST normalises with."""
        return self.normalization.averaging.read(*self._running())

    def peek_running(self) -> tuple[Array, Array]:
        """As `running`, from the newest values on the host, without counting as a write."""
        mean, variance, weight = self.statistics
        running = mean.peek().reshape(-1), variance.peek().reshape(-1)
        return self.normalization.averaging.read(running, None if weight is None else weight.peek())

    def update_running(self, mean: Array, variance: Array, count: int) -> None:
        """Accumulate the statistics of a batch into the running ones.

        mean, variance (biased): (C,). count: values per channel in the batch.
        """
        running, weight = self._running()
        self.normalization.averaging.accumulate(running, weight, (mean, variance), count)

    def set_running(self, mean: Array, variance: Array) -> None:
        """Replace the running statistics by `mean` and `variance`, each (C,)."""
        running, weight = self._running()
        for old, new in zip(running, (mean, self.normalization.averaging.spread(variance)), strict=True):
            old[...] = new
        if weight is not None:
            weight[...] = 1

    def check_count(self, count: int) -> None:
        """Warn, once, about a batch of a single value per channel: its variance is 0, and every output is beta."""
        if count == 1:
            self._warn("one value per channel: the variance of the batch is 0")

    def _running(self) -> tuple[tuple[Array, Array], Array | None]:
        mean, variance, weight = self.statistics
        return (mean.data.reshape(-1), variance.data.reshape(-1)), None if weight is None else weight.data

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning("%s: %s", self.where, message)

    # -- shapes and computation -------------------------------------------------------------------------------
    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        shape = bottom[0].shape
        if not shape:
            self.bad_shape("needs a bottom with at least 1 axis, got a scalar")
        expected = self.blobs[0].count
        if channel_count(shape) != expected:
            self.bad_shape(f"has statistics of {how_many(expected, 'channel')}, got a bottom of shape {shape}")
        if bottom[0].count == 0 and not self.normalization.by_running(self.phase):
            self.bad_shape(f"cannot take statistics of an empty bottom of shape {shape}")
        if top[0] is not bottom[0]:
            top[0].reshape(shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x, y = by_channel(bottom[0].data), by_channel(top[0].data)
        self._by_running = self.use_global
        gamma, beta = self._affine_data()
        # backward needs x - mean: in place x is overwritten by then; for batch statistics it has been computed anyway
        needed = not self._by_running or (top[0] is bottom[0] and gamma is not None)
        d = self._scratch.get("d", x.shape, x) if needed else y
        self._inv: list[Array] = []  # one for each group
        self._groups = [slice(None)] if self._by_running else self.normalization.groups(x.shape[0])
        total, self._over = self.total, None
        for group in self._groups:
            if self._by_running:
                self._mean, var = self.running()
                subtract_mean(x, self._mean, d)
            else:
                mean, var, count = centre(x[group], d[group], total)
                self._over = None if total is None else (total, count)
                self.check_count(count)
                self.update_running(mean, var, count)
            inv = inverse_std(var, self.normalization.eps)
            self._inv.append(inv)
            scale_shift(d[group], inv if gamma is None else inv * gamma, beta, y[group])

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        dy = by_channel(top[0].diff)
        dx = by_channel(bottom[0].diff) if propagate_down[0] else None
        gamma, _ = self._affine_data()
        constant = self._by_running or not self.normalization.gradient_through_statistics
        d = dy
        if not constant or self.affine is not None:
            d = self._scratch.get("d", dy.shape, dy)
            if self._by_running and top[0] is not bottom[0]:
                subtract_mean(by_channel(bottom[0].data), self._mean, d)
        for group, inv in zip(self._groups, self._inv, strict=True):
            into = None if dx is None else dx[group]
            if not constant:
                self._accumulate_affine_diffs(*backward_batch(dy[group], d[group], inv, gamma, into, self._over))
                continue
            if self.affine is not None:
                self._accumulate_affine_diffs(*affine_diffs(dy[group], d[group], inv))
            if into is not None:
                backward_global(dy[group], inv, gamma, into)

    def _affine_data(self) -> tuple[Array | None, Array | None]:
        if self.affine is None:
            return None, None
        gamma, beta = self.affine
        return gamma.data.reshape(-1), beta.data.reshape(-1)

    def _accumulate_affine_diffs(self, dgamma: Array, dbeta: Array) -> None:
        if self.affine is not None:
            for blob, diff in zip(self.affine, (dgamma, dbeta), strict=True):
                blob.diff[...] += diff.reshape(blob.shape)


def normalization_of(param: pb.LayerParameter) -> Normalization | None:
    """The settings of a layer that normalises by the batch, of whatever type; None for other layers."""
    cls = class_of(param)
    return cls.read_settings(param) if issubclass(cls, BatchStatistics) else None


def averages(layer: Layer) -> TypeGuard[BatchStatistics]:
    """Whether a layer normalises by the batch and keeps running statistics."""
    return isinstance(layer, BatchStatistics) and layer.keeps_statistics
