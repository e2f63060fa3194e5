"""Layers that combine several bottoms, or a bottom and a learned operand, element by element; sums and maxima."""

from __future__ import annotations

import math
from typing import Any, cast

from dragon.export.onnx.forms import writes
from dragon.export.onnx.graph import BEFORE_ALL, Graph
from dragon.graph.node import Node
from dragon.layers.bias import Bias
from dragon.layers.scale import Scale
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb


@writes("Eltwise")
def eltwise(g: Graph, node: Node) -> str:
    """Add, Mul or Max, with a Mul before it for each coefficient."""
    layer: Any = node.layer
    values = g.bottoms(node)
    if layer.operation == pb.EltwiseParameter.MAX:
        return g.op("Max", *values)
    if layer.operation == pb.EltwiseParameter.PROD:
        return _chain(g, "Mul", values)
    return _chain(g, "Add", [g.scaled(x, c) for x, c in zip(values, layer.coeff, strict=True)])


@writes("Add")
def add(g: Graph, node: Node) -> str:
    """Add of the bottoms, one after another."""
    return _chain(g, "Add", g.bottoms(node))


@writes("Mul", "MaskPooling")
def mul(g: Graph, node: Node) -> str:
    """Mul of the bottoms, one after another."""
    return _chain(g, "Mul", g.bottoms(node))


def _chain(g: Graph, kind: str, values: list[str]) -> str:
    result, *rest = values
    for value in rest:
        result = g.op(kind, result, value)
    return result


@writes("Scale")
def scale(g: Graph, node: Node) -> str:
    """Mul, and Add with a bias."""
    layer = cast(Scale, node.layer)
    axis = layer.param.scale_param.axis
    y = g.op("Mul", g.bottom(node), _operand(g, node, axis, layer.scale_blob(node.bottoms), "scale"))
    if layer.bias_blob is None:
        return y
    return g.op("Add", y, _operand(g, node, axis, layer.bias_blob, "bias"))


@writes("Bias")
def bias(g: Graph, node: Node) -> str:
    """Add of the operand."""
    layer = cast(Bias, node.layer)
    operand = _operand(g, node, layer.param.bias_param.axis, layer.bias_blob(node.bottoms), "bias")
    return g.op("Add", g.bottom(node), operand)


def _operand(g: Graph, node: Node, axis: int, blob: Blob, what: str) -> str:
    """A learned operand, or bottom 1, in a shape that broadcasts to bottom 0."""
    ndim = node.bottoms[0].ndim
    first = node.layer.axis(axis, ndim) if blob.shape and ndim else 0
    after = [1] * (ndim - first - blob.ndim)
    if any(blob is one for one in node.layer.blobs):
        return g.blob(blob, what, (*blob.shape, *after))
    x = g.bottom(node, 1)
    return g.reshape(x, [*g.dims(blob), *after]) if after and blob.shape else x


@writes("Axpy")
def axpy(g: Graph, node: Node) -> str:
    """Mul and Add, the factors in the shape (N, C, 1, ...)."""
    factor, x, y = g.bottoms(node)
    blob, ndim = node.bottoms[0], node.bottoms[1].ndim
    if blob.ndim != ndim:
        factor = g.reshape(factor, [*g.dims(blob)[:2], *[1] * (ndim - 2)])
    return g.op("Add", g.op("Mul", factor, x), y)


@writes("ChannelScale")
def channel_scale(g: Graph, node: Node) -> str:
    """Mul, the factors in the shape (N, 1, ...)."""
    x, factors = g.bottoms(node)
    bottom = node.bottoms[0]
    if not node.layer.param.channel_scale_param.do_forward:
        return x
    if node.bottoms[1].shape != (bottom.shape[0], 1, *bottom.shape[2:]):
        first, _, *rest = g.dims(bottom)
        factors = g.reshape(factors, [first, 1, *rest])
    return g.op("Mul", x, factors)


@writes("Sum")
def sum_of_axes(g: Graph, node: Node) -> str:
    """The operator ReduceSum over the named axes."""
    layer: Any = node.layer
    return g.reduce("ReduceSum", g.bottom(node), sorted(layer.axes), keep=layer.param.sum_param.keepdims)


@writes("Reduction")
def reduction(g: Graph, node: Node) -> str:
    """ReduceSum or ReduceMean of the bottom, its absolute values or its squares; a Mul for the coefficient."""
    p, bottom = node.layer.param.reduction_param, node.bottoms[0]
    axis = node.layer.axis(p.axis, bottom.ndim)
    x = g.bottom(node)
    kind = "ReduceMean" if p.operation == pb.ReductionParameter.MEAN else "ReduceSum"
    if p.operation == pb.ReductionParameter.ASUM:
        x = g.op("Abs", x)
    elif p.operation == pb.ReductionParameter.SUMSQ:
        x = g.op("Mul", x, x)
    return g.scaled(g.reduce(kind, x, range(axis, bottom.ndim), keep=False), p.coeff)


@writes("ArgMax")
def arg_max(g: Graph, node: Node) -> str:
    """ArgMax for one index, else TopK; ties go to the higher index, so TopK reads the values backwards."""
    layer: Any = node.layer
    bottom, top = node.bottoms[0], node.tops[0]
    x, along, size = g.bottom(node), layer.along, 0
    if along is None:
        along, size = 1, math.prod(bottom.shape[1:])
        x = g.reshape(x, [g.dims(bottom)[0], size])
    else:
        size = bottom.shape[along]
    if layer.top_k == 1 and not layer.values:
        return _shaped(g, g.cast(g.op("ArgMax", x, axis=along, select_last_index=1), "FLOAT"), node)
    backwards = g.slice(x, {along: slice(-1, BEFORE_ALL, -1)})
    values, order = g.ops("TopK", 2, backwards, g.ints([layer.top_k]), axis=along)
    last = g.ints([size - 1])
    if layer.along is not None and g.grows(bottom, along):
        last = g.op("Sub", g.op("Gather", g.op("Shape", x), g.ints([along])), g.ints([1]))
    index = g.cast(g.op("Sub", last, order), "FLOAT")
    if layer.along is not None:
        return values if layer.values else index
    if not layer.values:
        return _shaped(g, index, node)
    lead = g.dims(top)[0]
    rows = [g.reshape(value, [lead, 1, layer.top_k]) for value in (index, values)]
    return _shaped(g, g.op("Concat", *rows, axis=1), node)


def _shaped(g: Graph, y: str, node: Node) -> str:
    layer: Any = node.layer
    return y if layer.along is not None else g.like(y, node.tops[0])


@writes("Softmax")
def softmax(g: Graph, node: Node) -> str:
    """The operator Softmax along the axis."""
    layer: Any = node.layer
    return g.op("Softmax", g.bottom(node), axis=layer.along)
