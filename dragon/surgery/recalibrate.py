"""Exact running statistics: one pass over the training set instead of a moving average.

The mean is that of all values. There are two variances (the batches weighted by their number of values m):

    pooled    of all values, M2 / (n - 1): it includes the variance between the batches' means. Means and sums of
              squares are pooled as in Chan, Golub & LeVeque 1979:
              n = na + nb    d = mean_b - mean_a    mean = mean_a + d nb / n    M2 = M2_a + M2_b + d^2 na nb / n
    batches   the mean of the batches' unbiased variances, E[m / (m - 1) var_b]: Ioffe & Szegedy 2015, algorithm 2;
              with ghost batches each group is a batch
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import BatchStatistics, averages
from dragon.bases.layer import TRAIN
from dragon.data.progress import Progress, silent
from dragon.errors import NumericError, UsageError, nearest
from dragon.graph.net import Net
from dragon.normalization.arithmetic import by_channel

__all__ = ["VARIANCES", "Change", "Pool", "pools_for", "recalibrate"]

VARIANCES = ("pooled", "batches")
_Key = TypeVar("_Key", bound=Hashable)


class Pool:
    """Mean and variances per channel, (C,) each and float64, of all batches added so far."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: NDArray[Any] = np.zeros(())
        self.squares: NDArray[Any] = np.zeros(())
        self._within: NDArray[Any] = np.zeros(())  # sum of the batches' unbiased variances, each times its count

    def add(self, x: NDArray[Any]) -> None:
        """Add a batch (N, C, ...)."""
        values = by_channel(x)
        count = values.shape[0] * values.shape[2]
        mean = values.mean(axis=(0, 2), dtype=np.float64)
        squares = ((values - mean[:, None]) ** 2).sum(axis=(0, 2), dtype=np.float64)
        batch = Pool()
        batch.count, batch.mean, batch.squares = count, mean, squares
        batch._within = squares * (count / max(1, count - 1))
        self.join(batch)

    def join(self, other: Pool, shift: NDArray[Any] | float = 0.0) -> None:
        """Add all values of another pool, each with `shift`, (C,), added."""
        total = self.count + other.count
        between = other.mean + shift - self.mean
        self.mean = self.mean + between * (other.count / max(1, total))
        self._within = self._within + other._within
        self.squares = self.squares + other.squares + between**2 * (self.count * other.count / max(1, total))
        self.count = total

    @property
    def variance(self) -> NDArray[Any]:
        """The unbiased variance of all values; 0 after a single one."""
        return self.squares / max(1, self.count - 1)

    @property
    def batch_variance(self) -> NDArray[Any]:
        """The mean of the batches' unbiased variances, weighted by their counts; that of a single value is 0."""
        return self._within / max(1, self.count)


def pools_for(layers: Mapping[_Key, BatchStatistics]) -> dict[_Key, Pool]:
    """An empty Pool for each layer, and one for all layers that share their running statistics."""
    found: dict[int, Pool] = {}
    return {key: found.setdefault(id(layer.statistics[0].data_storage), Pool()) for key, layer in layers.items()}


@dataclass
class Change:
    """How far one layer's statistics moved: in standard deviations, and as ratios of variances (new / old)."""

    layer: str
    channels: int
    mean_shift: float
    variance_ratio: tuple[float, float]


def recalibrate(net: Net, batches: int, progress: Progress = silent, variance: str = "pooled") -> list[Change]:
    """Give every batch normalisation of a net in phase TRAIN the statistics of `batches` batches; return the changes.

    Layers that share their running statistics get those of all values that they read together. variance: one of
    VARIANCES, see above. Meanwhile all layers normalise by the batch, as in training. Raises
    UsageError for an unknown variance and for a net without batch normalisation or with running statistics of another
    kind (DecorrelatedBN), NumericError when an activation is not finite.
    """
    if variance not in VARIANCES:
        raise UsageError(f'variance "{variance}"{nearest(variance, VARIANCES)}: known are {", ".join(VARIANCES)}')
    layers = {i: layer for i, layer in enumerate(net.layers) if averages(layer)}
    for layer in net.layers:
        if layer.buffers and not averages(layer):
            raise UsageError("its running statistics cannot be recalibrated", layer=layer.where)
    if not layers:
        raise UsageError(f'net "{net.name}" has no batch normalisation with running statistics')
    pools = pools_for(layers)
    old = {i: tuple(np.array(v, np.float64) for v in layer.running()) for i, layer in layers.items()}
    counters = [
        layer.blobs[at] for layer in layers.values() if (at := layer.normalization.blobs.iterations) is not None
    ]
    counted = [blob.peek().copy() for blob in counters]  # restored below: nothing is trained on these batches
    for layer in layers.values():
        layer.let_phase_decide()
        layer.phase = TRAIN
    last = max(layers)
    for batch in range(batches):
        begin = 0
        for i in layers:
            if i > begin:
                net.run_forward(begin, i - 1)
            x = net.nodes[i].bottoms[0].peek()
            for group in layers[i].normalization.groups(x.shape[0]):
                pools[i].add(x[group])
            begin = i
        if begin < last:
            net.run_forward(begin, last)
        progress("batches", batch + 1, batches)
    for blob, iterations in zip(counters, counted, strict=True):
        blob.data[...] = iterations
    return [_set(layer, pools[i], old[i], variance) for i, layer in layers.items()]


def _set(layer: BatchStatistics, pool: Pool, old: tuple[NDArray[Any], ...], kind: str) -> Change:
    variance = pool.variance if kind == "pooled" else pool.batch_variance
    if not (np.isfinite(pool.mean).all() and np.isfinite(variance).all()):
        raise NumericError("its input is not finite", layer=layer.where)
    layer.set_running(pool.mean, variance)
    eps = layer.normalization.eps
    deviation = np.sqrt(variance + eps)
    ratio = (variance + eps) / (old[1] + eps)
    return Change(
        layer.name,
        len(variance),
        float(np.abs((pool.mean - old[0]) / deviation).max()),
        (float(ratio.min()), float(ratio.max())),
    )
