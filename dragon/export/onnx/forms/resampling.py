"""Layers that change the resolution of images."""

from __future__ import annotations

import math
from typing import Any, cast

from dragon.export.onnx.forms import writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.mask_resize import resize_weights
from dragon.layers.upsample import Upsample


@writes("Interp")
def interp(g: Graph, node: Node) -> str:
    """Resize with aligned corners, after a Slice where borders are cut off."""
    layer: Any = node.layer
    x, bottom, top = g.bottom(node), node.bottoms[0], node.tops[0]
    parts = {
        axis: part
        for axis, part in enumerate(layer.window)
        if part.start is not None and (part.start, part.stop) != (0, bottom.shape[axis])
    }
    x = g.slice(x, parts) if parts else x
    if g.growing.get(id(bottom)):
        lead = g.slice(g.op("Shape", x), {0: slice(0, 2)})
        sizes = g.op("Concat", lead, g.ints(top.shape[2:]), axis=0)
    else:
        sizes = g.ints(top.shape)
    return g.op("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners")


@writes("MaskResize")
def mask_resize(g: Graph, node: Node) -> str:
    """MatMul with the weights of the rows and of the columns."""
    sizes = zip(node.bottoms[0].shape[2:], node.tops[0].shape[2:], strict=True)
    rows, columns = (resize_weights(*size) for size in sizes)
    return g.op("MatMul", g.op("MatMul", g.constant(rows, "rows"), g.bottom(node)), g.constant(columns.T, "columns"))


@writes("Upsample")
def upsample(g: Graph, node: Node) -> str:
    """Resize to the nearest value, or ScatterElements to where the mask says."""
    layer = cast(Upsample, node.layer)
    x, top = g.bottom(node), node.tops[0]
    if len(node.bottoms) == 1:
        scales = g.constant([1.0, 1.0, *map(float, layer.scale)], "scales")
        return g.op(
            "Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )  # fmt: skip
    n, channels, *size = g.dims(top)
    flat = [n, channels, math.prod(node.bottoms[0].shape[2:])]
    values, index = g.reshape(x, flat), g.cast(g.reshape(g.bottom(node, 1), flat), "INT64")
    if n == -1:
        shape = g.op("Concat", g.slice(g.op("Shape", x), {0: slice(0, 2)}), g.ints([math.prod(size)]), axis=0)
    else:
        shape = g.ints([n, channels, math.prod(size)])
    return g.like(g.op("ScatterElements", g.op("ConstantOfShape", shape), index, values, axis=2), top)
