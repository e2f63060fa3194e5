"""Exact statistics of batch normalisations from probe batches, and scores of test nets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from dragon.bases.batch_statistics import averages
from dragon.memory.storage import Array
from dragon.probes.probe_net import Batch, ProbeNet
from dragon.surgery.recalibrate import pools_for

__all__ = ["exact_statistics", "mean_outputs"]


def exact_statistics(net: ProbeNet, batches: Iterable[Batch]) -> dict[str, tuple[Array, Array]]:
    """Mean and variance over all images of the input of each batch normalisation, by layer; float64.

    Layers that share their running statistics have those of their inputs together. net: of phase TRAIN, where the
    layers below normalise by the batch. See dragon.surgery.recalibrate.
    """
    pools = pools_for({layer.name: layer for layer in net.net.layers if averages(layer)})
    for batch in batches:
        for node, x in net.around(batch, lambda node: averages(node.layer)):
            pools[node.name].add(x)
    return {name: (pool.mean, pool.variance) for name, pool in pools.items()}


def mean_outputs(net: ProbeNet, batches: Iterable[Batch]) -> Mapping[str, float]:
    """The mean of each output of a single value over batches of one size."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for batch in batches:
        net.loss(batch)
        for name, value in net.net.output_values().items():
            if value.size == 1:
                found[name].append(float(value.reshape(-1)[0]))
    return {name: float(np.mean(values)) for name, values in found.items()}
