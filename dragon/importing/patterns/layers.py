"""Layers that exporters take apart."""

from __future__ import annotations

import math
from dataclasses import replace

from dragon.importing.graph import Node
from dragon.importing.patterns.view import Found, View, joined

__all__ = ["affine_product", "padded_convolution", "shuffle", "unpooling"]


def shuffle(view: View, node: Node) -> Found | None:
    """Reshape to (N, groups, C / groups, ...), exchange of axes 1 and 2, and Reshape back."""
    turn = view.source(node.inputs[0], "Transpose") if node.op == "Reshape" else None
    apart = None if turn is None else view.source(turn.inputs[0], "Reshape")
    if turn is None or apart is None:
        return None
    shapes = view.graph.shapes
    start, middle, end = shapes.get(apart.inputs[0]), shapes.get(apart.outputs[0]), shapes.get(node.outputs[0])
    if start is None or middle is None or start != end or len(middle) != len(start) + 1 or len(start) < 3:
        return None
    order = turn.integers("perm")
    if order != (0, 2, 1, *range(3, len(middle))) or middle[0] != start[0] or middle[3:] != start[2:]:
        return None
    return [apart, turn, node], joined("ShuffleChannel", node, [apart.inputs[0]], group=middle[1])


def padded_convolution(view: View, node: Node) -> Found | None:
    """Padding with zeros, then a convolution."""
    pad = view.source(node.inputs[0], "Pad") if node.op == "Conv" else None
    if pad is None or pad.text("mode", "constant") != "constant" or pad.has_input(3):
        return None
    value = view.graph.scalar(pad.inputs[2]) if pad.has_input(2) else pad.number("value", 0.0)
    constant = view.graph.constants.get(pad.inputs[1]) if pad.has_input(1) else None
    pads = pad.integers("pads") if constant is None else tuple(int(v) for v in constant.reshape(-1))
    if value != 0 or pads is None or min(pads, default=0) < 0 or node.text("auto_pad", "NOTSET") != "NOTSET":
        return None
    rank = len(pads) // 2
    if any(pads[k] for k in (0, 1, rank, rank + 1)) or rank < 3:
        return None
    extra = (*pads[2:rank], *pads[rank + 2 :])
    old = node.integers("pads") or (0,) * len(extra)
    attributes = node.attributes | {"pads": [a + b for a, b in zip(old, extra, strict=True)]}
    new = replace(node, inputs=[pad.inputs[0], *node.inputs[1:]], attributes=attributes)
    return [pad, node], new


def affine_product(view: View, node: Node) -> Found | None:
    """A product with a constant matrix, then a sum with a constant row: a third input of MatMul."""
    if node.op != "Add":
        return None
    for one, other in (node.inputs, node.inputs[::-1]):
        product, row = view.source(one, "MatMul"), view.graph.constants.get(other)
        if product is None or row is None or len(product.inputs) != 2:
            continue
        matrix = view.graph.constants.get(product.inputs[1])
        if matrix is None or matrix.ndim != 2 or row.ndim < 1 or not row.size == row.shape[-1] == matrix.shape[1]:
            continue
        if row.ndim <= len(view.graph.shapes.get(product.inputs[0], ())):
            return [product, node], joined("MatMul", node, [*product.inputs, other])
    return None


def unpooling(view: View, node: Node) -> Found | None:
    """Values that ScatterElements puts where a MaxPool found them, with its indices as those within a channel."""
    scatter = view.source(node.inputs[0], "ScatterElements") if node.op == "Reshape" else None
    base = None if scatter is None else view.graph.constants.get(scatter.inputs[0])
    if scatter is None or base is None or base.any() or scatter.integer("axis", 0) != 2:
        return None
    index = view.behind(scatter.inputs[1], "Reshape")
    within = view.source(index, "Mod")
    pool = None if within is None else view.given.get(within.inputs[0])
    if within is None or pool is None or pool.op != "MaxPool" or within.inputs[0] not in pool.outputs[1:]:
        return None
    size = view.graph.shapes.get(pool.inputs[0], ())[2:]
    out, count = view.graph.shapes.get(node.outputs[0], ()), math.prod(size)
    if out[2:] != size or view.graph.scalar(within.inputs[1]) != count or base.shape[2:] != (count,):
        return None
    x = view.behind(scatter.inputs[2], "Reshape")
    if view.graph.shapes.get(x) != view.graph.shapes.get(within.inputs[0]):
        return None
    old = [within, *view.chain(scatter.inputs[1], index), *view.chain(scatter.inputs[2], x), scatter, node]
    return old, joined("MaxUnpool", node, [x, within.inputs[0]])
