"""Weights for a net that has not been trained, to compare it with what it was exported to."""

from __future__ import annotations

import numpy as np

from dragon.bases.batch_statistics import averages
from dragon.bases.weighted import Weighted
from dragon.graph.net import Net
from dragon.normalization.arithmetic import by_channel
from dragon.surgery.samples import sample_inputs

__all__ = ["random_weights"]

_FEW = 8  # values that say nothing about a variance


def random_weights(net: Net, seed: int = 1) -> None:
    """Fill a net with weights that keep its values of the order of 1, for a net that has not been trained.

    Weights are Gaussian with a variance of 2 / inputs, other learned blobs get a little noise, and running statistics
    are those of a batch of noise.
    """
    rng = np.random.default_rng(seed)
    for name, value in sample_inputs(net, seed).items():
        net.blobs[name].data[...] = value
    for node in net.nodes:
        layer = node.layer
        for index, blob in enumerate(layer.blobs):
            if isinstance(layer, Weighted) and index == 0:
                inputs = node.bottoms[0].shape[1] if layer.type == "Deconvolution" else blob.count // layer.num_output
                blob.data[...] = rng.normal(size=blob.shape) * np.sqrt(2 / max(1, inputs))
            elif index not in layer.buffers:
                start = 0.0 if isinstance(layer, Weighted) or not blob.peek().any() else blob.peek()
                blob.data[...] = start + rng.normal(size=blob.shape) * 0.1
        if averages(layer):
            x = by_channel(node.bottoms[0].peek()).astype(np.float64)
            few = x.shape[0] * x.shape[2] < _FEW
            mean = np.zeros(x.shape[1]) if few else x.mean(axis=(0, 2))
            layer.set_running(mean, np.full(x.shape[1], (x * x).mean()) if few else x.var(axis=(0, 2)) + 0.01)
        layer.reshape(node.bottoms, node.tops)  # the number of regions depends on values
        layer.forward(node.bottoms, node.tops)  # an engine would prepare each layer for this one run
