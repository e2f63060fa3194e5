"""Blocks of pixels that become channels, and channels that become blocks, which exporters take apart."""

from __future__ import annotations

from dragon.importing.graph import Node
from dragon.importing.patterns.view import Found, View, joined

__all__ = ["focus", "rearranged"]

# of a Transpose between two Reshape: the operator, its mode, the axes of the channels and of a block
_ORDERS: dict[tuple[int, ...], tuple[str, str, int, int]] = {
    (0, 1, 3, 5, 2, 4): ("SpaceToDepth", "CRD", 1, 3),
    (0, 3, 5, 1, 2, 4): ("SpaceToDepth", "DCR", 1, 3),
    (0, 1, 4, 2, 5, 3): ("DepthToSpace", "CRD", 1, 2),
    (0, 3, 4, 1, 5, 2): ("DepthToSpace", "DCR", 3, 1),
}


def rearranged(view: View, node: Node) -> Found | None:
    """Reshape, Transpose and Reshape, as PixelShuffle and PixelUnshuffle are written."""
    turn = view.source(node.inputs[0], "Transpose") if node.op == "Reshape" else None
    apart = None if turn is None else view.source(turn.inputs[0], "Reshape")
    known = None if turn is None else _ORDERS.get(turn.integers("perm") or ())
    if turn is None or apart is None or known is None:
        return None
    shapes = (view.graph.shapes.get(value, ()) for value in (apart.inputs[0], apart.outputs[0], node.outputs[0]))
    (op, mode, channels, block), (start, parts, end) = known, shapes
    if len(start) != 4 or len(parts) != 6 or len(end) != 4 or parts[0] != start[0]:
        return None
    r, count = parts[block], parts[channels]
    small, large = (end, start) if op == "SpaceToDepth" else (start, end)
    if large != (start[0], count, small[2] * r, small[3] * r) or small[1] != count * r * r:
        return None
    expected = [start[0], r, r, r, r, r]
    expected[channels] = count
    sides = (2, 4) if op == "SpaceToDepth" else (4, 5)
    for axis, size in zip(sides, small[2:], strict=True):
        expected[axis] = size
    if list(parts) != expected:
        return None
    return [apart, turn, node], joined(op, node, [apart.inputs[0]], blocksize=r, mode=mode)


def focus(view: View, node: Node) -> Found | None:
    """Every second pixel from each of four places, put together as channels (YOLOv5, YOLOX): SpaceToDepth.

    Its attribute places has the row and the column of each part within a block.
    """
    if node.op != "Concat" or len(node.inputs) < 4 or node.integer("axis", 1) != 1:
        return None
    parts = [_places(view, value) for value in node.inputs]
    block = round(len(parts) ** 0.5)
    sources = {part[0] if part is not None else "" for part in parts}
    source = sources.pop()
    shape = view.graph.shapes.get(source, ())
    if sources or len(shape) != 4 or shape[2] % block or shape[3] % block:
        return None
    found = [(part[1], part[2]) for part in parts if part is not None and part[3:] == (block, block)]
    if sorted(found) != [(row, column) for row in range(block) for column in range(block)]:
        return None
    places = [number for place in found for number in place]
    return [node], joined("SpaceToDepth", node, [source], blocksize=block, places=places)


def _places(view: View, value: str) -> tuple[str, int, int, int, int] | None:
    """For slices along rows and columns: what they cut, the first row and column, and the steps between them."""
    first, step = [0, 0], [1, 1]
    while (node := view.given.get(value)) is not None and node.op == "Slice":
        shape = view.graph.shapes.get(node.inputs[0], ())
        settings = [view.graph.constants.get(name) for name in node.inputs[1:]]
        if len(shape) != 4 or len(settings) != 4 or any(one is None for one in settings):
            break
        starts, ends, axes, steps = ([int(v) for v in one.reshape(-1)] for one in settings if one is not None)
        if len(axes) != 1 or axes[0] % 4 < 2 or steps[0] < 1 or ends[0] < shape[axes[0]] or starts[0] < 0:
            break
        k = axes[0] % 4 - 2
        if step[k] != 1:
            break
        first[k], step[k], value = starts[0], steps[0], node.inputs[0]
    return (value, first[0], first[1], step[0], step[1]) if step != [1, 1] else None
