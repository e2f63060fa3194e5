"""Inputs that a net can run on, to compare it with what it was exported to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import averages
from dragon.bases.recurrent import Recurrent
from dragon.bases.regions import RegionPooling
from dragon.bases.weighted import Weighted
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.layers.batch_reindex import BatchReindex
from dragon.layers.embed import Embed
from dragon.layers.lstm_unit import LSTMUnit
from dragon.layers.proposal import Proposal
from dragon.layers.rcnn_detection_output import RCNNDetectionOutput
from dragon.layers.split import Split
from dragon.normalization.arithmetic import by_channel

__all__ = ["random_weights", "sample_inputs"]

_FEW = 8  # values that say nothing about a variance


def sample_inputs(net: Net, seed: int = 1, scale: float = 1.0) -> dict[str, NDArray[np.float32]]:
    """Values for each input of a net: indices, regions, marks and sizes where a layer reads such, else Gaussian noise.

    scale: standard deviation of the noise.
    """
    rng = np.random.default_rng(seed)
    return {name: _sample(net, name, rng, scale).astype(np.float32) for name in net.inputs}


def _sample(net: Net, name: str, rng: np.random.Generator, scale: float) -> NDArray[Any]:
    shape = net.blobs[name].shape
    for node, index in _readers(net, name):
        layer: Any = node.layer
        if isinstance(layer, Embed):
            return rng.integers(0, layer.blobs[0].shape[0], shape)
        if isinstance(layer, BatchReindex) and index == 1:
            return rng.integers(0, node.bottoms[0].shape[0], shape)
        if (isinstance(layer, Recurrent) and index == 1) or (isinstance(layer, LSTMUnit) and index == 2):
            return rng.random(shape) > 0.3
        if (isinstance(layer, Proposal) and index == 2) or (isinstance(layer, RCNNDetectionOutput) and index == 3):
            return np.resize(_image_size(net), shape)
        if isinstance(layer, RegionPooling) and index == 1:
            items, _, height, width = node.bottoms[0].shape
            corners = rng.uniform(0, 1, (shape[0], 2, 2)) * np.array([width, height]) / layer.scale
            boxes = np.round(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1))
            return np.concatenate([rng.integers(0, items, (shape[0], 1)), boxes], axis=1).reshape(shape)
    return rng.normal(size=shape) * scale


def _image_size(net: Net) -> tuple[int, ...]:
    """Height, width and scale of the first input that is an image; as many pixels without one."""
    sizes = [net.blobs[name].shape[2:] for name in net.inputs if net.blobs[name].ndim == 4]
    return (*sizes[0], 1) if sizes else (100, 100, 1)


def _readers(net: Net, name: str) -> list[tuple[Node, int]]:
    """The layers that read a blob, also behind a Split, and which of their bottoms it is."""
    found = []
    names = {name}
    for node in net.nodes:
        for index, bottom in enumerate(node.bottom_names):
            if bottom in names:
                found.append((node, index))
                if isinstance(node.layer, Split):
                    names |= set(node.top_names)
    return found


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
