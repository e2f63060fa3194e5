"""Layers that move, cut, join and repeat values without computing with them."""

from __future__ import annotations

from typing import Any, cast

from dragon.export.onnx.forms import writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node
from dragon.layers.pad import Pad
from dragon.proto import dragon_pb2 as pb

_BEFORE_ALL = -(2**31)  # the end of a slice backwards that takes the first element too
_MODES: dict[int, str] = {
    pb.PadParameter.CONSTANT: "constant",
    pb.PadParameter.EDGE: "edge",
    pb.PadParameter.REFLECT: "reflect",
}


@writes("Concat")
def concat(g: Graph, node: Node) -> str:
    """Concat."""
    layer: Any = node.layer
    values = g.bottoms(node)
    return values[0] if len(values) == 1 else g.op("Concat", *values, axis=layer.along)


@writes("Slice")
def slices(g: Graph, node: Node) -> list[str]:
    """Split."""
    layer: Any = node.layer
    if len(node.tops) == 1:
        return [g.bottom(node)]
    sizes = [top.shape[layer.along] for top in node.tops]
    return g.ops("Split", len(node.tops), g.bottom(node), g.ints(sizes), axis=layer.along)


@writes("Flatten", "Reshape", "Squeeze")
def view(g: Graph, node: Node) -> str:
    """Reshape to the shape of the top."""
    return g.like(g.bottom(node), node.tops[0])


@writes("Permute")
def permute(g: Graph, node: Node) -> str:
    """Transpose."""
    layer: Any = node.layer
    return g.op("Transpose", g.bottom(node), perm=list(layer.order))


@writes("ShuffleChannel")
def shuffle_channel(g: Graph, node: Node) -> str:
    """Transpose of the groups and the channels of each, between two Reshapes."""
    layer: Any = node.layer
    n, group, each, inner = layer.view
    split = g.reshape(g.bottom(node), [g.lead(node, n), group, each, inner])
    return g.like(g.op("Transpose", split, perm=[0, 2, 1, 3]), node.tops[0])


@writes("Crop")
def crop(g: Graph, node: Node) -> str:
    """Slice, by the offsets and the size that bottom 1 has in this net."""
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
    """Tile."""
    p, ndim = node.layer.param.tile_param, node.bottoms[0].ndim
    repeats = [1] * ndim
    repeats[node.layer.axis(p.axis, ndim)] = p.tiles
    return g.op("Tile", g.bottom(node), g.ints(repeats))


@writes("Reverse")
def reverse(g: Graph, node: Node) -> str:
    """Slice backwards."""
    layer: Any = node.layer
    return g.slice(g.bottom(node), {axis: slice(-1, _BEFORE_ALL, -1) for axis in sorted(layer.axes)})


@writes("Pad")
def pad(g: Graph, node: Node) -> str:
    """Pad."""
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
    """A constant."""
    return g.blob(node.layer.blobs[0], "value")


@writes("Silence")
def silence(g: Graph, node: Node) -> list[str]:
    """Nothing."""
    return []
