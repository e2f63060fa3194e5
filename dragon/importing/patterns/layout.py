"""Parts that exporters compute with the channels last, between two Transpose, as those of ConvNeXt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dragon.importing.graph import Array, Graph, Node
from dragon.importing.patterns.view import View

__all__ = ["channels_first"]

_TO_LAST, _BACK = (0, 2, 3, 1), (0, 3, 1, 2)
# operators of ONNX: of one input with whatever attributes, and with constants beside the computed input
_NEURONS = "Abs Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish Neg Relu Sigmoid Softplus Sqrt Swish Tanh"
_POINTWISE = frozenset(_NEURONS.split())
_WITH_CONSTANTS = "Add Mul ScaleBias"
_AFFINE = frozenset(_WITH_CONSTANTS.split())


def channels_first(graph: Graph) -> None:
    """Compute what stands in a row between a Transpose to channels last and one back with the channels first."""
    for node in list(graph.nodes):
        if node.op == "Transpose" and node.integers("perm") == _BACK:
            view = View(graph)
            row = _row(view, node)
            if row:
                new = _turned(graph, row[1:-1], row[0].inputs[0], node.outputs[0])
                graph.replace(row, new)


def _row(view: View, last: Node) -> list[Node]:
    """The nodes from a Transpose to channels last up to `last`, each read by the next alone; empty if others come."""
    row, value = [last], last.inputs[0]
    while (node := view.given.get(value)) is not None and view.reads[value] == 1:
        row.insert(0, node)
        if node.op == "Transpose":
            return row if node.integers("perm") == _TO_LAST and len(row) > 2 else []
        if len(view.graph.shapes.get(value, ())) != 4 or not _can_turn(view.graph, node):
            return []
        value = _computed(view.graph, node)
    return []


def _computed(graph: Graph, node: Node) -> str:
    """The input of a node that is not constant, the last of several."""
    return next((name for name in reversed(node.inputs) if name not in graph.constants), "")


def _can_turn(graph: Graph, node: Node) -> bool:
    if node.op in _POINTWISE:
        return len(node.inputs) == 1
    value = _computed(graph, node)
    given = [graph.constants[name] for name in node.inputs if name in graph.constants]
    if not given or len(given) != sum(name not in ("", value) for name in node.inputs) or node.inputs.count(value) != 1:
        return False
    if node.op in _AFFINE:
        channels = graph.shapes.get(value, (0,))[-1]
        return all(array.size == 1 or array.shape[-1] == array.size == channels for array in given)
    if value != node.inputs[0]:
        return False
    if node.op == "MatMul":
        return given[0].ndim == 2 and all(array.size == given[0].shape[1] for array in given[1:])
    return node.op == "LayerNormalization" and node.integer("axis", -1) in (-1, 3) and sum(map(bool, node.outputs)) == 1


def _turned(graph: Graph, row: list[Node], value: str, last: str) -> list[Node]:
    """The nodes of a row on a value with the channels first."""
    made = []
    for k, node in enumerate(row):
        output = last if k == len(row) - 1 else f"{node.outputs[0]}/first"
        if k < len(row) - 1:
            n, height, width, channels = graph.shapes[node.outputs[0]]
            graph.shapes[output] = (n, channels, height, width)
            graph.types[output] = graph.types.get(node.outputs[0], 1)
        arrays = [graph.constants[name] for name in node.inputs if name in graph.constants]
        op, attributes = node.op, dict(node.attributes)
        if op == "MatMul":
            op, attributes = "Conv", {}
            turned = [arrays[0].T[:, :, None, None], *(array.reshape(-1) for array in arrays[1:])]
        elif op == "LayerNormalization":
            op, turned = "ChannelNormalization", arrays
        else:
            turned = [_of_channels(array) for array in arrays]
        names = [f"{output}/constant{i}" for i in range(len(turned))]
        graph.constants.update(zip(names, turned, strict=True))
        made.append(replace(node, op=op, inputs=[value, *names], outputs=[output], attributes=attributes))
        value = output
    return made


def _of_channels(array: Array) -> Array:
    return np.reshape(array, (-1, 1, 1)) if array.size > 1 else array
