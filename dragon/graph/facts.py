"""Facts about a net for the output of commands: its layers, their shapes and windows, its data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dragon.bases.batch_statistics import BatchStatistics, averages
from dragon.bases.geometry import Window
from dragon.bases.layer import Layer
from dragon.counting import how_many
from dragon.data import dataset_label, open_source
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.graph.node import Node
from dragon.graph.outputs import batch_size
from dragon.layers.accuracy import Accuracy
from dragon.layers.split import Split

__all__ = [
    "accuracy_names",
    "added_splits",
    "batch_norms",
    "data_labels",
    "layer_facts",
    "parameter_count",
    "record_count",
    "require_data",
    "shapes_text",
    "summary",
    "synthetic",
    "window_columns",
]

SYNTHETIC = "SYNTHETIC data (drawn by a program): the figures say nothing about real images"


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


def shapes_text(shapes: Iterable[Sequence[int]]) -> str:
    """Shapes, such as those of a layer's tops, as in `8x3x24x24, 8`."""
    return ", ".join("x".join(map(str, shape)) or "1" for shape in shapes)


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
    added = f" and {how_many(splits, 'added Split')}" if splits else ""
    return (
        f'net "{net.name}": {how_many(len(net.nodes) - splits, "layer")}{added}, '
        f"{how_many(parameter_count(net), 'parameter')}, "
        f"batches of {batch_size(net)}, on {', '.join(data_labels(net)) or 'no database'}"
    )


def accuracy_names(net: Net) -> list[str]:
    """Outputs made by Accuracy layers."""
    return [
        name for node in net.nodes if isinstance(node.layer, Accuracy) for name in node.top_names if name in net.outputs
    ]


def require_data(net: Net, model: str) -> None:
    """Raise UsageError for a net with inputs, which would run on zeros."""
    if net.inputs:
        names = ", ".join(f'"{name}"' for name in net.inputs)
        raise UsageError(
            f"{model}: its input {names} is filled by no data layer: give a net with one (train_val.prototxt)"
        )
