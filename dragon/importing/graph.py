"""An ONNX graph as the importer sees it: nodes in order, constants as arrays, shapes of all other values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["OWN_GRAPH", "Array", "Graph", "NoForm", "Node", "UnknownShape", "as_float", "shrunk"]

OWN_GRAPH = (
    "it runs a graph of its own: export the model with the branch or loop resolved (torch.onnx.export, dynamo=True)"
)

Array = NDArray[Any]


class NoForm(Exception):
    """A node has no form in Caffe; the text says why, and what to do."""


class UnknownShape(NoForm):
    """A shape that a node needs is not known, mostly since a node before it has no form."""


@dataclass(eq=False)
class Node:
    """A node. op: the operator, with its domain in front unless that is ONNX's own. "" stands for an input left out.

    titled: its name is the path of a module, after which its results are called too.
    """

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 0  # version of its domain
    titled: bool = False

    def has_input(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def has_output(self, index: int) -> bool:
        """Whether an output is wanted."""
        return index < len(self.outputs) and self.outputs[index] != ""

    def number(self, name: str, default: float) -> float:
        """A number among the attributes."""
        return float(self.attributes.get(name, default))

    def integer(self, name: str, default: int) -> int:
        """An integer among the attributes."""
        return int(self.attributes.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """A text among the attributes."""
        value = self.attributes.get(name, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of integers among the attributes; None where it is not given."""
        value = self.attributes.get(name)
        return None if value is None else tuple(int(v) for v in value)


@dataclass
class Graph:
    """A graph whose shapes are all known, as far as its operators are.

    outputs: the value of each output by its name. types: ONNX's numbers of element types, by value. shapes: of inputs
    and results, without constants.
    """

    nodes: list[Node]
    inputs: list[str]
    outputs: dict[str, str]
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)

    def producer(self, value: str) -> Node | None:
        """The node that gives a value; None for inputs and constants."""
        return next((node for node in self.nodes if value in node.outputs), None) if value else None

    def readers(self, value: str) -> list[Node]:
        """The nodes that read a value."""
        return [node for node in self.nodes if value in node.inputs]

    def shape_of(self, value: str) -> tuple[int, ...] | None:
        """The shape of a value or constant; None where it is not known."""
        constant = self.constants.get(value)
        return self.shapes.get(value) if constant is None else constant.shape

    def scalar(self, value: str) -> float | None:
        """The number in a constant of one value; None for everything else."""
        constant = self.constants.get(value)
        return float(constant.reshape(-1)[0]) if constant is not None and constant.size == 1 else None

    def replace(self, old: Iterable[Node], new: Sequence[Node]) -> None:
        """Put nodes in place of others, where the last of those stood."""
        gone = list(old)
        at = max(self.nodes.index(node) for node in gone)
        tail = [node for node in self.nodes[at + 1 :] if node not in gone]
        self.nodes = [node for node in self.nodes[: at + 1] if node not in gone] + list(new) + tail

    def drop_unread(self) -> None:
        """Drop nodes of which nothing is read."""
        wanted = set(self.outputs.values())
        kept = []
        for node in reversed(self.nodes):
            if any(name in wanted for name in node.outputs if name):
                kept.append(node)
                wanted.update(node.inputs)
            node.outputs = [name if name in wanted else "" for name in node.outputs]
        self.nodes = kept[::-1]


def as_float(values: Array) -> Array:
    """The values in float32, in order of rows."""
    return np.ascontiguousarray(values, dtype=np.float32)


def shrunk(values: Array) -> Array:
    """An array of as many axes that is broadcast to this one: of extent 1 where all along an axis is equal."""
    for axis in range(values.ndim):
        first = values.take([0], axis) if values.shape[axis] else values
        if values.shape[axis] > 1 and (values == first).all():
            values = first
    return values
