"""Inputs that a net can run on: indices, labels, regions, marks and sizes where a layer reads such, else noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.loss import Loss
from dragon.bases.margin_product import MarginProduct
from dragon.bases.recurrent import Recurrent
from dragon.bases.regions import RegionPooling
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.layers.accuracy import Accuracy
from dragon.layers.batch_reindex import BatchReindex
from dragon.layers.embed import Embed
from dragon.layers.label_specific_add import LabelSpecificAdd
from dragon.layers.lstm_unit import LSTMUnit
from dragon.layers.proposal import Proposal
from dragon.layers.rcnn_detection_output import RCNNDetectionOutput
from dragon.layers.split import Split

__all__ = ["feed", "holds_labels", "sample_inputs"]

_LARGE = 30  # standard deviation of the noise of a proof


def sample_inputs(net: Net, seed: int = 1, scale: float = 1.0) -> dict[str, NDArray[np.float32]]:
    """Values for each input of a net: what its readers can take, else Gaussian noise.

    scale: standard deviation of the noise.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for name in net.inputs:
        value = _meant(net, name, rng)
        value = rng.normal(size=net.blobs[name].shape) * scale if value is None else value
        found[name] = np.asarray(value, np.float32)  # of an input without axes NumPy makes a number
    return found


def feed(net: Net, rng: np.random.Generator, *others: Net) -> None:
    """Fill the inputs of nets with equal values that the readers of `net` can take, else large Gaussian noise.

    Inputs of one axis of which no reader says anything are taken for labels, and are zeros.
    """
    for name in net.inputs:
        value = _meant(net, name, rng)
        if value is None:
            shape = net.blobs[name].shape
            value = rng.normal(size=shape) * _LARGE if len(shape) > 1 else np.zeros(shape)
        for one in (net, *others):
            one.blobs[name].data[...] = value


def holds_labels(net: Net, name: str) -> bool:
    """Whether a layer reads an input of a net as labels."""
    return any(_is_label(node.layer, index) for node, index in _readers(net, name))


def _meant(net: Net, name: str, rng: np.random.Generator) -> NDArray[Any] | None:
    """Values for an input of which a reader takes only some; None if any will do."""
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
        if _is_label(layer, index):
            return np.zeros(shape)  # a class of every net
    return None


def _is_label(layer: Any, index: int) -> bool:
    if isinstance(layer, Loss):
        return index in layer.labels
    return index == 1 and isinstance(layer, (Accuracy, LabelSpecificAdd, MarginProduct))


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
