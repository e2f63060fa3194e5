"""The outputs of a net as the logs of training show them: in Caffe's form, with their weights in the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.graph.net import Net

__all__ = ["batch_size", "format_value", "loss_weight", "output_elements", "output_line"]


def batch_size(net: Net) -> int:
    """Examples in one pass: the first axis of the first top of a source layer that has axes; 1 without one."""
    for node in net.nodes:
        if node.layer.is_source:
            for top in node.tops:
                if top.shape:
                    return int(top.shape[0])
    return 1


def loss_weight(net: Net, name: str) -> float:
    """The loss weight of a blob; 0 if it has none."""
    weight = 0.0
    for node in net.nodes:
        for top, w in zip(node.top_names, node.loss_weights, strict=True):
            if top == name:
                weight = w
    return weight


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
