"""Layers that move, cut, join and repeat values without computing with them."""

from __future__ import annotations

from typing import Any, cast

from dragon.bases.rearranging import Rearranging
from dragon.export.onnx.forms import NoFormError, writes
from dragon.export.onnx.graph import BEFORE_ALL, Graph
from dragon.graph.node import Node
from dragon.layers.pad import Pad
from dragon.proto import dragon_pb2 as pb

_MODES: dict[int, str] = {
    pb.PadParameter.CONSTANT: "constant",
    pb.PadParameter.EDGE: "edge",
    pb.PadParameter.REFLECT: "reflect",
}


@writes("Concat")
def concat(g: Graph, node: Node) -> str:
    """The operator Concat, unless there is one bottom."""
    layer: Any = node.layer
    values = g.bottoms(node)
    return values[0] if len(values) == 1 else g.op("Concat", *values, axis=layer.along)


@writes("Slice")
def slices(g: Graph, node: Node) -> list[str]:
    """The operator Split, by the sizes of the tops."""
    layer: Any = node.layer
    if len(node.tops) == 1:
        return [g.bottom(node)]
    sizes = [top.shape[layer.along] for top in node.tops]
    return g.ops("Split", len(node.tops), g.bottom(node), g.ints(sizes), axis=layer.along)


@writes("Flatten", "Reshape", "Squeeze")
def view(g: Graph, node: Node) -> str:
    """Reshape to the shape of the top."""
    return g.like(g.bottom(node), node.tops[0])


@writes("Permute", "Reorg", "ShuffleChannel", "Transpose")
def rearrange(g: Graph, node: Node) -> str:
    """Transpose, of a view with more axes where the layer moves parts of axes."""
    layer = cast(Rearranging, node.layer)
    bottom, top = node.bottoms[0], node.tops[0]
    x = g.bottom(node)
    if layer.view != bottom.shape:
        if g.growing.get(id(bottom), frozenset()) - {0}:
            raise NoFormError("moves parts of an axis that grows with the batch: leave out dynamic-batch")
        x = g.reshape(x, [g.lead(node, layer.view[0]), *layer.view[1:]])
    moves = [*layer.order] != sorted(layer.order)
    y = g.op("Transpose", x, perm=list(layer.order)) if moves else x
    return y if layer.moved == top.shape else g.like(y, top)


@writes("Crop", "CropCenter")
def crop(g: Graph, node: Node) -> str:
    """Slice; a Crop has the size that its bottom 1 has in this net."""
    layer: Any = node.layer
    shape = node.bottoms[0].shape
    parts = {
        axis: part
        for axis, part in enumerate(layer.window)
        if part.start is not None and (part.start, part.stop) != (0, shape[axis])
    }
    return g.slice(g.bottom(node), parts) if parts else g.bottom(node)


@writes("Tile")
def tile(g: Graph, node: Node) -> str:
    """The operator Tile, with 1 for the other axes."""
    p, ndim = node.layer.param.tile_param, node.bottoms[0].ndim
    repeats = [1] * ndim
    repeats[node.layer.axis(p.axis, ndim)] = p.tiles
    return g.op("Tile", g.bottom(node), g.ints(repeats))


@writes("Reverse", "Flip")
def reverse(g: Graph, node: Node) -> str:
    """Slice backwards."""
    layer: Any = node.layer
    parts = {axis: slice(-1, BEFORE_ALL, -1) for axis in sorted(layer.axes)}
    return g.slice(g.bottom(node), parts) if parts else g.bottom(node)


@writes("Pad")
def pad(g: Graph, node: Node) -> str:
    """The operator Pad; its amounts for all axes are an input."""
    layer = cast(Pad, node.layer)
    (top, bottom), (left, right) = layer.pads
    lead = [0] * (node.bottoms[0].ndim - 2)
    pads = g.ints([*lead, top, left, *lead, bottom, right])
    value = [g.number(layer.param.pad_param.value)] if layer.mode == pb.PadParameter.CONSTANT else []
    return g.op("Pad", g.bottom(node), pads, *value, mode=_MODES[layer.mode])


@writes("Embed")
def embed(g: Graph, node: Node) -> str:
    """Gather of rows of the table, and Add with a bias."""
    weight, *bias = node.layer.blobs
    y = g.op("Gather", g.blob(weight, "weight"), g.cast(g.bottom(node), "INT64"), axis=0)
    return g.op("Add", y, g.blob(bias[0], "bias")) if bias else y


@writes("BatchReindex")
def batch_reindex(g: Graph, node: Node) -> str:
    """Gather of items."""
    return g.op("Gather", g.bottom(node), g.cast(g.bottom(node, 1), "INT64"), axis=0)


@writes("Filter")
def select(g: Graph, node: Node) -> list[str]:
    """Compress by the selector; the number of items is known only at run time."""
    *values, selector = g.bottoms(node)
    chosen = g.reshape(g.cast(selector, "BOOL"), [-1])
    return [g.op("Compress", value, chosen, axis=0) for value in values]


@writes("Parameter")
def parameter(g: Graph, node: Node) -> str:
    """A constant, the learned blob."""
    return g.blob(node.layer.blobs[0], "value")


@writes("Silence")
def silence(g: Graph, node: Node) -> list[str]:
    """No operator, since there is no top."""
    return []
