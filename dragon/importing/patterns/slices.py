"""Several slices of one value that are pieces of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dragon.importing.graph import Graph, Node

__all__ = ["join_slices"]


def join_slices(graph: Graph) -> None:
    """Make one Split of Slice nodes that cut one value along one axis into pieces that do not overlap."""
    groups: dict[tuple[str, int], list[tuple[int, int, Node]]] = {}
    for node in graph.nodes:
        piece = _piece(graph, node)
        if piece is not None:
            groups.setdefault((node.inputs[0], piece[0]), []).append((*piece[1:], node))
    for (value, axis), pieces in groups.items():
        ordered = sorted(pieces, key=lambda one: one[:2])
        if len(ordered) > 1 and all(a[1] <= b[0] for a, b in pairwise(ordered)):
            _join(graph, value, axis, ordered)


def _piece(graph: Graph, node: Node) -> tuple[int, int, int] | None:
    """The axis, start and end of a Slice along one axis, not all of it; None for others."""
    shape = graph.shapes.get(node.inputs[0]) if node.op == "Slice" else None
    given = [graph.constants.get(name) for name in node.inputs[1:]]
    if not shape or len(given) not in (3, 4) or any(one is None or one.size != 1 for one in given):
        return None
    start, end, axis, step = (int(one.reshape(-1)[0]) for one in [*given, np.ones(1)][:4] if one is not None)
    if step != 1 or not -len(shape) <= axis < len(shape):
        return None
    first, last, _ = slice(start, end).indices(shape[axis])
    return (axis % len(shape), first, last) if 0 < last - first < shape[axis] else None


def _join(graph: Graph, value: str, axis: int, pieces: list[tuple[int, int, Node]]) -> None:
    sizes, outputs, at = [], [], 0
    for start, end, node in pieces:
        if start > at:
            sizes.append(start - at)
            outputs.append("")
        sizes.append(end - start)
        outputs.append(node.outputs[0])
        at = end
    extent = graph.shapes[value][axis]
    if at < extent:
        sizes.append(extent - at)
        outputs.append("")
    old = [node for _, _, node in pieces]
    first = next(node for node in graph.nodes if node in old)
    name = f"{first.outputs[0]}/sizes"
    graph.constants[name] = np.array(sizes, np.int64)
    new = Node("Split", first.name, [value, name], outputs, {"axis": axis}, 13, first.titled)
    place = graph.nodes.index(first)
    graph.nodes[place] = new
    graph.nodes = [node for node in graph.nodes if node not in old]
