"""Recurrent layers: a Scan over the steps, since ONNX's own LSTM cannot begin a sequence in the middle of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from dragon.bases.recurrent import Recurrent
from dragon.export.onnx.forms import NoFormError, writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.row_lstm import RowLSTM


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


@dataclass
class _Steps:
    """What a Scan needs of a layer: sizes, the states before the first step, gates (T, N, ...), marks (T, N, 1)."""

    steps: int
    items: int
    size: int
    start: list[str]
    gates: str
    going: str
    weight: str


def _steps(g: Graph, node: Node, layer: Recurrent) -> _Steps:
    weight = g.blob(layer.blobs[3 if layer.static else 2], "recurrent weight")
    going = g.reshape(g.bottom(node, 1), [layer.steps, layer.n, 1])
    start, gates = _start(g, node, layer), _projected(g, node, layer)
    return _Steps(layer.steps, layer.n, layer.size, start, gates, going, weight)


def _scan(g: Graph, s: _Steps) -> tuple[list[str], str]:
    """The last states, each (N, num_output), and h of every step, (T, N, num_output)."""
    if g.growing:
        raise NoFormError("has the batch beside the steps: leave out dynamic-batch")
    rows = (s.items, s.size)
    gated = len(s.start) > 1
    states = {f"state {i}": rows for i in range(len(s.start))}
    inner, body = g.subgraph({**states, "gates": (s.items, s.size * (4 if gated else 1)), "cont": (s.items, 1)})
    *before, gates, cont = (name for name, _ in body.inputs)
    hidden = inner.op("Gemm", inner.op("Mul", before[0], cont), s.weight, gates, transB=1)
    if gated:
        cell, out = lstm_step(inner, before[1], hidden, cont, s.size, axis=1)
        after = [out, cell]
    else:
        after = [inner.op("Tanh", hidden)]
    body.outputs = [*after, inner.op("Identity", after[0])]
    found = g.ops("Scan", len(after) + 1, *s.start, s.gates, s.going, body=body, num_scan_inputs=2)
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
    states, y = _scan(g, _steps(g, node, cast(Recurrent, node.layer)))
    return _tops(g, node, states, y)


@writes("Lstm")
def row_lstm(g: Graph, node: Node) -> str:
    """A Scan over the rows, step by step. Each run begins with states of zeros."""
    layer = cast(RowLSTM, node.layer)
    weight, recurrent, bias = (
        g.blob(blob, what) for blob, what in zip(layer.blobs, ("weight", "recurrent weight", "bias"), strict=True)
    )
    x = g.reshape(g.bottom(node), [layer.steps * layer.n, layer.inputs])
    gates = g.reshape(g.op("Gemm", x, weight, bias, transB=1), [layer.steps, layer.n, 4 * layer.size])
    marks = [layer.steps, layer.n, 1]
    if len(node.bottoms) > 1:
        going = g.reshape(g.cast(g.cast(g.bottom(node, 1), "BOOL"), "FLOAT"), marks)
    else:
        going = g.constant(np.ones(marks), "going")
    start = [g.constant(np.zeros((layer.n, layer.size)), f"start of {state}") for state in layer.states]
    _, y = _scan(g, _Steps(layer.steps, layer.n, layer.size, start, gates, going, recurrent))
    return g.like(y, node.tops[0])


@writes("RNN")
def rnn(g: Graph, node: Node) -> list[str]:
    """A Scan, then the product of the outputs. Without `expose_hidden` each run begins with a state of zeros."""
    layer = cast(Recurrent, node.layer)
    states, hidden = _scan(g, _steps(g, node, layer))
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
