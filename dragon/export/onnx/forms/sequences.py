"""Label sequences: the most probable path, and the marks of where sequences begin."""

from __future__ import annotations

from typing import cast

import numpy as np

from dragon.export.onnx.forms import NoFormError, writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.continuation_indicator import ContinuationIndicator
from dragon.layers.ctc_greedy_decoder import CTCGreedyDecoder


@writes("ContinuationIndicator")
def continuation_indicator(g: Graph, node: Node) -> str:
    """A constant; with a bottom that says which sequences go on, its comparison with 1 in front of ones."""
    layer = cast(ContinuationIndicator, node.layer)
    if g.growing:
        raise NoFormError("has the batch beside the steps: leave out dynamic-batch")
    steps, n = node.tops[0].shape
    marks = np.ones((steps, n))
    if layer.param.continuation_indicator_param.flag:
        return g.constant(marks, "going on")
    marks[:1] = 0
    if layer.measures or not node.bottoms:
        return g.constant(marks, "going on")
    distance = g.op("Abs", g.op("Sub", g.reshape(g.bottom(node), [1, n]), g.number(1.0)))
    first = g.cast(g.op("LessOrEqual", distance, g.number(0.01)), "FLOAT")
    return g.op("Concat", first, g.constant(marks[1:], "going on"), axis=0) if steps > 1 else first


@writes("CTCGreedyDecoder")
def ctc_greedy_decoder(g: Graph, node: Node) -> list[str]:
    """ArgMax, comparisons with the blank and with the step before, CumSum for the places, ScatterElements."""
    layer = cast(CTCGreedyDecoder, node.layer)
    if layer.only_scored or len(node.bottoms) == 3:
        raise NoFormError("compares what it reads with labels: keep bottom 0 and, if there is one, bottom 1 alone")
    if g.growing:
        raise NoFormError("has the batch beside the steps: leave out dynamic-batch")
    steps, n, classes = layer.scores.shape
    x = g.reshape(g.bottom(node), [steps, n, classes])
    best = g.op("ArgMax", x, axis=2, keepdims=0)
    counted = g.op("Not", g.op("Equal", best, g.ints([layer.blank])))
    if layer.param.ctc_decoder_param.ctc_merge_repeated and steps > 1:
        none = g.constant(np.full((1, n), -1, np.int64), "before")
        before = g.op("Concat", none, g.slice(best, {0: slice(0, steps - 1)}), axis=0)
        counted = g.op("And", counted, g.op("Not", g.op("Equal", best, before)))
    alive = _alive(g, node, layer)
    if alive:
        counted = g.op("And", counted, alive)
    best, counted = (g.op("Transpose", value, perm=[1, 0]) for value in (best, counted))
    places = g.op("Sub", g.op("CumSum", g.cast(counted, "INT64"), g.constant(np.int64(1))), g.ints([1]))
    places = g.op("Where", counted, places, g.ints([steps]))  # what does not count goes behind the end
    empty = g.constant(np.full((n, steps + 1), -1.0), "no labels")
    found = g.slice(g.op("ScatterElements", empty, places, g.cast(best, "FLOAT"), axis=1), {1: slice(0, steps)})
    tops = [g.like(found, node.tops[0])]
    if len(node.tops) > 1:
        highest = g.reduce("ReduceMax", x, [2], keep=False)
        if alive:
            highest = g.op("Mul", highest, g.cast(alive, "FLOAT"))
        tops.append(g.like(g.op("Neg", g.reduce("ReduceSum", highest, [0], keep=False)), node.tops[1]))
    return tops


def _alive(g: Graph, node: Node, layer: CTCGreedyDecoder) -> str:
    """Whether a sequence has not ended at a step, (T, N); "" if none ends."""
    steps, n, _ = layer.scores.shape
    if not layer.marked or steps == 1:
        return ""
    begins = g.op("Less", g.slice(g.reshape(g.bottom(node, 1), [steps, n]), {0: slice(1, steps)}), g.number(0.5))
    ended = g.op("CumSum", g.cast(begins, "INT64"), g.constant(np.int64(0)))
    first = g.constant(np.ones((1, n), bool), "first step")
    return g.op("Concat", first, g.op("Equal", ended, g.ints([0])), axis=0)
