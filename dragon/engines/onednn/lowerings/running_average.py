"""The running average of a normalisation's statistics, as a step that does little: it is run cold, once in a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.onednn.plan.steps import Step
from dragon.memory.storage import Array
from dragon.proto import dragon_pb2 as pb

if TYPE_CHECKING:
    from dragon.bases.batch_statistics import BatchStatistics

__all__ = ["moving"]


def moving(layer: BatchStatistics, mean: Array, variance: Array, count: int) -> Step:
    """Let the batch's statistics, in these arrays when the step runs, move the layer's: the same as `accumulate`."""

    def general() -> None:
        layer.update_running(mean, variance, count)

    if not layer.is_weighted_sum or layer.weight_index is None:
        return general
    keep, caffe = layer.keep, layer.rule == pb.CAFFE
    old, new = (keep, 1.0) if caffe else (1 - keep, keep) if layer.rule == pb.LATEST else (keep, 1 - keep)
    unbiased = count / (count - 1) if caffe and count > 1 else 1.0
    weight = layer.blobs[layer.weight_index]
    pairs = [
        (layer.blobs[layer.mean_index], mean, np.float32(new)),
        (layer.blobs[layer.variance_index], variance, np.float32(np.float32(unbiased) * np.float32(new))),
    ]
    share = np.empty_like(mean)

    def step() -> None:
        if not caffe and not weight.data_storage.read()[0]:
            general()  # statistics may have come without a weight
            return
        total = weight.data_storage.write()
        total[0] = total[0] * old + new
        for blob, batch, factor in pairs:
            running = blob.data_storage.write()[: blob.count]
            np.multiply(running, old, out=running)
            np.multiply(batch, factor, out=share)
            np.add(running, share, out=running)

    return step
