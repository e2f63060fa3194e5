"""Pooling in all its modes, and SPP, which is several poolings.

The padding in the file reaches to the end of the last window, so that ONNX's own rounding never counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from dragon.counting import how_many
from dragon.export.onnx.forms import NoFormError, writes
from dragon.export.onnx.forms.convolution import window_attributes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.pooling import Pooling
from dragon.layers.spp import SPP
from dragon.proto import dragon_pb2 as pb

__all__ = ["pool"]

_MOST_AXES = 3


@writes("Pooling")
def pooling(g: Graph, node: Node) -> list[str]:
    """MaxPool, AveragePool, or a quotient of two."""
    layer = cast(Pooling, node.layer)
    x, size = g.bottom(node), node.bottoms[0].shape[2:]
    if len(node.tops) == 1:
        return [pool(g, layer, x, size)]
    y, index = g.ops("MaxPool", 2, x, **_window(layer))
    # ONNX counts over the whole value, Caffe within a channel
    return [y, g.cast(g.op("Mod", index, g.ints([math.prod(size)])), "FLOAT")]


@writes("SPP")
def spp(g: Graph, node: Node) -> str:
    """A pooling for each level, flattened, one after another."""
    levels = cast(SPP, node.layer).levels
    x, size = g.bottom(node), node.bottoms[0].shape[2:]
    parts = [g.op("Flatten", pool(g, cast(Pooling, level), x, size), axis=1) for level in levels]
    return parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=1)


def pool(g: Graph, layer: Pooling, x: str, size: Sequence[int]) -> str:
    """The first top of a pooling of `x`, whose spatial size is `size`."""
    if layer.method == pb.PoolingParameter.MAX:
        whole = layer.param.pooling_param.global_pooling
        return g.op("GlobalMaxPool", x) if whole else g.op("MaxPool", x, **_window(layer))
    if layer.method == pb.PoolingParameter.AVE:
        return _average(g, layer, x)
    taps = math.prod(layer.window.kernel)
    squares, total = (g.scaled(_means(g, layer, value), taps) for value in (g.op("Mul", x, x), x))
    positive = g.op("Greater", total, g.number(0))
    return g.op("Div", squares, g.op("Where", positive, total, g.number(1)))


def _window(layer: Pooling) -> dict[str, list[int]]:
    if len(layer.window.kernel) > _MOST_AXES:
        raise NoFormError(
            f"slides over {how_many(len(layer.window.kernel), 'axis')}, runtimes pool over at most {_MOST_AXES}"
        )
    found = window_attributes(layer.window)
    del found["dilations"]
    return found


def _means(g: Graph, layer: Pooling, x: str) -> str:
    """The means of whole windows, with zeros for the padding."""
    return g.op("AveragePool", x, count_include_pad=1, **_window(layer))


def _average(g: Graph, layer: Pooling, x: str) -> str:
    if layer.param.pooling_param.global_pooling:
        return g.op("GlobalAveragePool", x)
    if not layer.counts_padding:
        return g.op("AveragePool", x, count_include_pad=0, **_window(layer))
    mean, taps = _means(g, layer, x), math.prod(layer.window.kernel)
    divisor = np.ones(())
    for axis in layer.divisors:
        divisor = divisor[..., None] * np.array(axis)
    # Caffe divides by the part of a window that lies on the image and its padding
    return mean if (divisor == taps).all() else g.op("Mul", mean, g.constant(taps / divisor, "share"))
