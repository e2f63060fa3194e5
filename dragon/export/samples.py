"""Weights for a net that has not been trained, to compare it with what it was exported to."""

from __future__ import annotations

import numpy as np

from dragon.bases.batch_statistics import averages
from dragon.bases.weighted import Weighted
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.normalization.arithmetic import by_channel
from dragon.surgery.samples import sample_inputs

__all__ = ["random_weights"]

_FEW = 8  # values that say nothing about a variance
_PART = 0.1  # of the mean: where all of it is taken away, rounding grows by pi / (pi - 1) a layer, in the square
_WIDE = 4  # standard deviation of scores from which on a softmax is little but 0 and 1, in any program


def random_weights(net: Net, seed: int = 1) -> None:
    """Fill a net with weights that keep its values of the order of 1, for a net that has not been trained.

    Weights are Gaussian with a variance of 2 / inputs, or less where a softmax reads what the layer gives and that is
    spread widely, as behind many residual sums. Other learned blobs get a little noise. Running statistics are a tenth
    of the mean of a batch of noise, and its mean square around that.
    """
    rng = np.random.default_rng(seed)
    scores = _scores(net)
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
            mean = np.zeros(x.shape[1]) if few else _PART * x.mean(axis=(0, 2))
            away = x - mean.reshape(1, -1, 1)
            square = np.full(x.shape[1], (x * x).mean()) if few else (away * away).mean(axis=(0, 2)) + 0.01
            layer.set_running(mean, square)
        layer.reshape(node.bottoms, node.tops)  # the number of regions depends on values
        layer.forward(node.bottoms, node.tops)  # an engine would prepare each layer for this one run
        spread = float(node.tops[0].peek().std()) if node in scores and node.tops[0].count else 0.0
        if spread > _WIDE:
            layer.blobs[0].data[...] /= spread
            layer.forward(node.bottoms, node.tops)


def _scores(net: Net) -> list[Node]:
    """The layers with weights whose values a Softmax reads, through layers without weights."""
    read: set[int] = set()  # ids of blobs
    found = []
    for node in reversed(net.nodes):
        reads = node.layer.type == "Softmax"
        if not reads and any(id(top) in read for top in node.tops):
            if isinstance(node.layer, Weighted):
                found.append(node)
            else:
                reads = True
        if reads:
            read.update(map(id, node.bottoms))
    return found
