"""The update of a normalisation's running statistics, as a step with few NumPy calls: it runs once in each pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.onednn.plan.steps import Step
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.bases.batch_statistics import BatchStatistics

__all__ = ["moving"]


def moving(layer: BatchStatistics, mean: Array, variance: Array, count: int) -> Step:
    """A step that updates the running statistics by the batch's mean and variance (C,), as `Averaging.accumulate`."""

    def general() -> None:
        layer.update_running(mean, variance, count)

    if not layer.normalization.averages:
        return general
    average = layer.normalization.averaging
    running_mean, running_variance, weight = layer.statistics
    if average.divided or weight is None:
        return general
    old, new, full = average.momentum, average.new, average.full
    pairs = [
        (running_mean, mean, np.float32(new)),
        (running_variance, variance, np.float32(np.float32(average.correction(count)) * np.float32(new))),
    ]
    share = np.empty_like(mean)
    stored = weight.data_storage

    def step() -> None:
        if full and not stored.read()[0]:
            general()  # statistics may have come without a weight
            return
        total = stored.write()
        total[0] = total[0] * old + new
        for blob, batch, factor in pairs:
            running = blob.data_storage.write()[: blob.count]
            np.multiply(running, old, out=running)
            np.multiply(batch, factor, out=share)
            np.add(running, share, out=running)

    return step
