"""Recurrent layers: a Scan over the steps, since ONNX's own LSTM cannot begin a sequence in the middle of a batch."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from dragon.bases.recurrent import Recurrent
from dragon.export.onnx.forms import NoFormError, writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node


def _projected(g: Graph, node: Node, layer: Recurrent) -> str:
    """What the inputs give to the gates of every step, (T, N, gates * num_output)."""
    x = g.reshape(g.bottom(node), [layer.steps * layer.n, layer.inputs])
    flat = g.op("Gemm", x, g.blob(layer.blobs[0], "weight"), g.blob(layer.blobs[1], "bias"), transB=1)
    gates = g.reshape(flat, [layer.steps, layer.n, layer.gates * layer.size])
    if layer.static:
        still = g.reshape(g.bottom(node, 2), [layer.n, layer.static_inputs])
        gates = g.op("Add", gates, g.op("Gemm", still, g.blob(layer.blobs[2], "static weight"), transB=1))
    return gates


def _start(g: Graph, node: Node, layer: Recurrent) -> list[str]:
    """The states before the first step, each (N, num_output): bottoms, or zeros."""
    shape = [layer.n, layer.size]
    if layer.exposed:
        return [g.reshape(g.bottom(node, i), shape) for i in range(layer.first_state, len(node.bottoms))]
    return [g.constant(np.zeros(shape), f"start of {state}") for state in layer.states]


def _scan(g: Graph, node: Node, layer: Recurrent) -> tuple[list[str], str]:
    """The last states, each (N, num_output), and h of every step, (T, N, num_output)."""
    if g.growing:
        raise NoFormError("has the batch on its second axis: leave out dynamic-batch")
    rows = (layer.n, layer.size)
    shapes = {**dict.fromkeys(layer.states, rows), "gates": (layer.n, layer.gates * layer.size), "cont": (layer.n, 1)}
    inner, body = g.subgraph(shapes)
    *states, gates, cont = (name for name, _ in body.inputs)
    recurrent = 3 if layer.static else 2
    weight = g.blob(layer.blobs[recurrent], "recurrent weight")
    # a sum rather than a Gemm with three inputs, as in the layer
    hidden = inner.op("Gemm", inner.op("Mul", states[0], cont), weight, gates, transB=1)
    if layer.gates == 1:
        after = [inner.op("Tanh", hidden)]
    else:
        cell, out = lstm_step(inner, states[1], hidden, cont, layer.size, axis=1)
        after = [out, cell]
    body.outputs = [*after, inner.op("Identity", after[0])]
    going = g.reshape(g.bottom(node, 1), [layer.steps, layer.n, 1])
    start = _start(g, node, layer)
    found = g.ops("Scan", len(start) + 1, *start, _projected(g, node, layer), going, body=body, num_scan_inputs=2)
    return found[:-1], found[-1]


def lstm_step(g: Graph, cell: str, gates: str, cont: str, size: int, axis: int) -> tuple[str, str]:
    """The new cell and output of one step; gates: i, f, o, g along an axis."""
    i, f, o, new = g.ops("Split", 4, gates, g.ints([size] * 4), axis=axis)
    kept = g.op("Mul", g.op("Mul", cont, g.op("Sigmoid", f)), cell)
    cell = g.op("Add", kept, g.op("Mul", g.op("Sigmoid", i), g.op("Tanh", new)))
    return cell, g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", cell))


def _tops(g: Graph, node: Node, states: list[str], y: str) -> list[str]:
    return [y, *(g.like(state, top) for state, top in zip(states, node.tops[1:], strict=False))]


@writes("LSTM")
def lstm(g: Graph, node: Node) -> list[str]:
    """A Scan. Without `expose_hidden` each run begins with states of zeros."""
    states, y = _scan(g, node, cast(Recurrent, node.layer))
    return _tops(g, node, states, y)


@writes("RNN")
def rnn(g: Graph, node: Node) -> list[str]:
    """A Scan, then the product of the outputs. Without `expose_hidden` each run begins with a state of zeros."""
    layer = cast(Recurrent, node.layer)
    states, hidden = _scan(g, node, layer)
    weight, bias = (
        g.blob(blob, what) for blob, what in zip(layer.blobs[-2:], ("output weight", "output bias"), strict=True)
    )
    flat = g.reshape(hidden, [layer.steps * layer.n, layer.size])
    y = g.op("Tanh", g.op("Gemm", flat, weight, bias, transB=1))
    return _tops(g, node, states, g.like(y, node.tops[0]))


@writes("LSTMUnit")
def lstm_unit(g: Graph, node: Node) -> list[str]:
    """Products, sums, Sigmoid and Tanh."""
    cell, gates, cont = g.bottoms(node)
    size: Any = node.bottoms[0].shape[2]
    return list(lstm_step(g, cell, gates, g.op("Unsqueeze", cont, g.ints([2])), size, axis=2))
