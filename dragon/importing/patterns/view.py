"""Who gives and who reads the values of a graph, for finding groups of nodes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from dragon.importing.graph import Graph, Node

__all__ = ["Found", "Pattern", "View", "close", "joined"]


class View:
    """Who gives and who reads the values of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.given = {value: node for node in graph.nodes for value in node.outputs if value}
        self.reads = Counter(value for node in graph.nodes for value in node.inputs)
        self.reads.update(graph.outputs.values())

    def source(self, value: str, op: str, reads: int = 1) -> Node | None:
        """The node that gives a value, if its operator is `op` and the value is read no more often than that."""
        node = self.given.get(value)
        return node if node is not None and node.op == op and self.reads[value] <= reads else None

    def behind(self, value: str, *ops: str) -> str:
        """The value from which a chain of nodes of these operators, each read once, makes `value`."""
        while (node := self.given.get(value)) is not None and node.op in ops and self.reads[value] == 1:
            value = node.inputs[0]
        return value

    def chain(self, last: str, first: str) -> list[Node]:
        """The nodes between two values, along first inputs."""
        found = []
        while last != first:
            found.append(self.given[last])
            last = self.given[last].inputs[0]
        return found

    def axes(self, node: Node) -> list[int] | None:
        """The constant axes of a reduction, in order; None where they or the shape are not known."""
        shape = self.graph.shapes.get(node.inputs[0])
        axes = node.integers("axes")
        if axes is None and node.has_input(1):
            constant = self.graph.constants.get(node.inputs[1])
            axes = None if constant is None else tuple(int(v) for v in constant.reshape(-1))
        return None if axes is None or shape is None else sorted(axis % len(shape) for axis in axes)

    def square(self, value: str, reads: int = 1) -> tuple[Node, str] | None:
        """For x * x, also as a power: the node and x."""
        node = self.source(value, "Mul", reads) or self.source(value, "Pow", reads)
        if node is None:
            return None
        same = node.inputs[0] == node.inputs[1] if node.op == "Mul" else self.graph.scalar(node.inputs[1]) == 2
        return (node, node.inputs[0]) if same else None

    def with_number(self, node: Node) -> tuple[str, float] | None:
        """The computed input of a node of two inputs and the number that the other one is; None for others."""
        if len(node.inputs) != 2:
            return None
        for k in (1, 0):
            number = self.graph.scalar(node.inputs[k])
            if number is not None and node.inputs[1 - k] not in self.graph.constants:
                return node.inputs[1 - k], number
        return None

    def scaled(self, value: str) -> tuple[Node, str, float] | None:
        """For factor * x, also as a division: the node, x and the factor."""
        node = self.source(value, "Mul") or self.source(value, "Div")
        found = None if node is None else self.factor(node)
        return None if node is None or found is None else (node, *found)

    def factor(self, node: Node) -> tuple[str, float] | None:
        """For a node that is factor * x or x / divisor: x and the factor."""
        found = self.with_number(node) if node.op in ("Mul", "Div") else None
        if found is None or (node.op == "Div" and (found[1] == 0 or found[0] != node.inputs[0])):
            return None
        return found[0], found[1] if node.op == "Mul" else 1 / found[1]


Found = tuple[list[Node], Node]  # the nodes that are one operator, and that
Pattern = Callable[[View, Node], Found | None]


def joined(op: str, last: Node, inputs: list[str], **attributes: object) -> Node:
    """A node in place of several, called as the last of them."""
    return Node(op, last.name, inputs, list(last.outputs), dict(attributes), 99, last.titled)


def close(a: float | None, b: float) -> bool:
    """Whether a is b, as exactly as exporters write it."""
    return a is not None and math.isclose(a, b, rel_tol=1e-4)
