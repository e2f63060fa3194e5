"""Shapes that the loops of a Scan give, which ONNX cannot infer for a body that reads values around it."""

from __future__ import annotations

from dragon.importing.graph import Graph, Node

__all__ = ["infer_scan"]

_FLOAT = 1  # as ONNX numbers it


def infer_scan(graph: Graph, node: Node) -> None:
    """Enter shapes and types of a Scan's outputs: final states, and states of each step; others stay unknown."""
    body = node.attributes.get("body")
    if body is None or set(node.attributes) != {"body", "num_scan_inputs"}:
        return
    states = len(node.inputs) - node.integer("num_scan_inputs", 0)
    read = graph.shape_of(node.inputs[states]) if 0 < states < len(node.inputs) else None
    if not read:
        return
    same = {one.output[0]: one.input[0] for one in body.node if one.op_type == "Identity"}
    given = [same.get(one.name, one.name) for one in body.output]
    for k, name in enumerate(node.outputs[: len(given)]):
        if not name or given[k] not in given[:states]:
            continue
        start = node.inputs[given.index(given[k])]
        shape = graph.shape_of(start)
        if shape is not None:
            graph.shapes[name] = shape if k < states else (read[0], *shape)
            graph.types[name] = graph.types.get(start, _FLOAT)
