"""The probe correlation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dragon.graph.node import Node
from dragon.memory.storage import Array
from dragon.normalization.arithmetic import by_channel
from dragon.probes.probe import Probe, setting
from dragon.probes.registry import register
from dragon.probes.run import Run

__all__ = ["Correlation", "mean_correlation"]


@register("correlation")
@dataclass(kw_only=True, eq=False)
class Correlation(Probe):
    """Correlation of channels before and after each normalisation.

    The mean of |r_ij| over all pairs i != j of channels that are not constant, r_ij their correlation over the images
    of a probe batch and all positions. Batch normalisation scales channels one by one, so it leaves the figure as it
    is; whitening (Ioffe & Szegedy 2015, section 2; Huang et al. 2018) takes it to 0. Cost: one pass forward, layer by
    layer, and a product of channels x channels for each normalisation.
    """

    batch_size: int = setting(0, "images in the probe batch; 0: as many as in training", least=0)

    def measure(self, run: Run) -> Mapping[str, float]:
        found = {}
        for node, before in run.net.around(run.batch(0, self.batch_size), _normalises):
            found[f"{node.name}/before"] = mean_correlation(before)
            found[f"{node.name}/after"] = mean_correlation(node.tops[0].peek())
        return found


def _normalises(node: Node) -> bool:
    return node.layer.family == "normalisation" and node.bottoms[0].ndim > 1


def mean_correlation(x: Array) -> float:
    """The mean absolute correlation of different channels of x, (N, C, ...); NaN with less than two."""
    values = by_channel(x).astype(np.float64)
    channels = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    channels = channels - channels.mean(axis=1, keepdims=True)
    lengths = np.sqrt((channels**2).sum(axis=1))
    channels = channels[lengths > 0] / lengths[lengths > 0, None]
    count = len(channels)
    total = abs(channels @ channels.T).sum() - count
    return float(total / (count * (count - 1))) if count > 1 else float("nan")
