"""Facts about a net for the output of commands: sizes, loss weights of its outputs, its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.batch_statistics import BatchStatistics, averages
from dragon.bases.geometry import Window
from dragon.bases.layer import Layer
from dragon.data import dataset_label, open_source
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.layers.accuracy import Accuracy
from dragon.layers.split import Split

__all__ = [
    "accuracy_names",
    "added_splits",
    "batch_norms",
    "batch_size",
    "data_labels",
    "format_value",
    "layer_facts",
    "loss_weight",
    "output_elements",
    "output_line",
    "parameter_count",
    "record_count",
    "require_data",
    "shapes_text",
    "summary",
    "synthetic",
    "window_columns",
]

SYNTHETIC = "SYNTHETIC data (drawn by a program): the figures say nothing about real images"


def batch_size(net: Net) -> int:
    """Examples in one pass: the first axis of the first top of a source layer that has axes; 1 without one."""
    for node in net.nodes:
        if node.layer.is_source:
            for top in node.tops:
                if top.shape:
                    return int(top.shape[0])
    return 1


def parameter_count(net: Net) -> int:
    """Number of learned values, without running statistics; shared ones count once."""
    return sum(param.blob.count for param in net.learnable)


def batch_norms(net: Net) -> list[BatchStatistics]:
    """The layers that normalise by the batch and keep an average."""
    return [layer for layer in net.layers if averages(layer)]


def data_labels(net: Net) -> list[str]:
    """The labels of the datasets that the net reads, each once."""
    labels: dict[str, None] = {}
    for layer in net.layers:
        source = layer.param.data_param.source
        if source:
            labels[dataset_label(layer.find(source, "data"))] = None
    return list(labels)


def record_count(net: Net) -> int:
    """Number of records in the first database of the net; 0 without one."""
    for layer in net.layers:
        if layer.param.data_param.source:
            p = layer.param.data_param
            reader = open_source(layer.find(p.source, "data"), p.backend)
            try:
                return len(reader)
            finally:
                reader.close()
    return 0


def window_columns(layer: Layer) -> tuple[str, str, str]:
    """Kernel, stride and padding of a layer with a window, as text such as "5x5", "2", "1"; else empty.

    A dilation follows the kernel (`3x3 d2`); padding that differs at the end of the axes follows that at their start.
    """
    window = getattr(layer, "window", None)
    if not isinstance(window, Window):
        return "", "", ""
    kernel = "x".join(map(str, window.kernel)) + ("" if set(window.dilation) <= {1} else f" d{_short(window.dilation)}")
    pads = [_short(window.before)] + [_short(window.after)] * (window.before != window.after)
    return kernel, _short(window.stride), ", ".join(pads)


def _short(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))


def shapes_text(node: Node) -> str:
    """The shapes of a layer's tops, as in `8x3x24x24, 8`."""
    return ", ".join("x".join(map(str, blob.shape)) or "1" for blob in node.tops)


def layer_facts(node: Node) -> dict[str, Any]:
    """A layer for JSON: name, type, shapes of its tops by name, and its window: null for a layer without."""
    window = getattr(node.layer, "window", None)
    sizes = {
        "kernel": window.kernel, "stride": window.stride, "pad_before": window.before, "pad_after": window.after,
        "dilation": window.dilation,
    } if isinstance(window, Window) else None  # fmt: skip
    tops = {name: list(blob.shape) for name, blob in zip(node.top_names, node.tops, strict=True)}
    return {"name": node.name, "type": node.layer.type, "tops": tops, "window": sizes}


def synthetic(net: Net) -> bool:
    """Whether any of the data is synthetic."""
    return any("synthetic" in label.lower() for label in data_labels(net))


def added_splits(net: Net) -> list[int]:
    """Indices of the Split layers that the net has inserted where a blob has several readers."""
    return [node.index for node in net.nodes if isinstance(node.layer, Split) and node.name.endswith("_split")]


def summary(net: Net) -> str:
    """The net in one line."""
    splits = len(added_splits(net))
    added = f" and {splits} added Split{'' if splits == 1 else 's'}" if splits else ""
    return (
        f'net "{net.name}": {len(net.nodes) - splits} layers{added}, {parameter_count(net):,} parameters, '
        f"batches of {batch_size(net)}, on {', '.join(data_labels(net)) or 'no database'}"
    )


def loss_weight(net: Net, name: str) -> float:
    """The loss weight of a blob; 0 if it has none."""
    weight = 0.0
    for node in net.nodes:
        for top, w in zip(node.top_names, node.loss_weights, strict=True):
            if top == name:
                weight = w
    return weight


def accuracy_names(net: Net) -> list[str]:
    """Outputs made by Accuracy layers."""
    return [
        name for node in net.nodes if isinstance(node.layer, Accuracy) for name in node.top_names if name in net.outputs
    ]


def output_elements(net: Net, values: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, float, float]]:
    """Name, value and loss weight of every element of the outputs, in the order Caffe numbers them."""
    for name, value in values.items():
        weight = loss_weight(net, name)
        for element in np.ravel(value):
            yield name, float(element), weight


def format_value(value: float) -> str:
    """A value with six digits, as Caffe prints it, but without the sign of -0, which is the loss -log(1)."""
    return f"{value + 0.0:g}"


def output_line(name: str, value: float, weight: float) -> str:
    """`loss = 1.2 (* 1 = 1.2 loss)`, the form in which Caffe prints an output."""
    tail = f" (* {weight:g} = {format_value(weight * value)} loss)" if weight else ""
    return f"{name} = {format_value(value)}{tail}"


def require_data(net: Net, model: str) -> None:
    """Raise UsageError for a net with inputs, which would run on zeros."""
    if net.inputs:
        names = ", ".join(f'"{name}"' for name in net.inputs)
        raise UsageError(
            f"{model}: its input {names} is filled by no data layer: give a net with one (train_val.prototxt)"
        )
