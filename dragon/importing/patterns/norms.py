"""Divisions by a norm, and group normalisation, which exporters take apart."""

from __future__ import annotations

import numpy as np

from dragon.importing.graph import Node, shrunk
from dragon.importing.patterns.view import Found, View, joined

__all__ = ["group_norm", "l2_norm", "scaled_l2_norm"]

_SMALL = 1e-4  # a limit of a norm below which nobody asks


def l2_norm(view: View, node: Node) -> Found | None:
    """X divided by its norm along an axis, which is kept above a small limit or has one added: LpNormalization.

    The limit is squared and added below the root, as Caffe's Normalize does.
    """
    if node.op != "Div":
        return None
    x, divisor = node.inputs[0], view.behind(node.inputs[1], "Expand")
    nodes, limit = view.chain(node.inputs[1], divisor), 0.0
    guard = view.source(divisor, "Clip") or view.source(divisor, "Max") or view.source(divisor, "Add")
    if guard is not None:
        number = _lowest(view, guard)
        if number is None or not 0 <= number[1] <= _SMALL:
            return None
        (divisor, limit), nodes = number, [*nodes, guard]
    norm = _norm(view, divisor)
    axes = None if norm is None else view.axes(norm[1])
    if norm is None or norm[2] != x or axes is None or len(axes) != 1 or not norm[1].integer("keepdims", 1):
        return None
    new = joined("LpNormalization", node, [x], axis=axes[0], p=2, eps=limit * limit)
    return [*norm[0], *nodes, node], new


def _norm(view: View, value: str) -> tuple[list[Node], Node, str] | None:
    """For the root of a sum of squares: the nodes, the sum among them, and what is squared."""
    norm = view.source(value, "ReduceL2")
    if norm is not None:
        return [norm], norm, norm.inputs[0]
    root = view.source(value, "Sqrt")
    squares = None if root is None else view.source(root.inputs[0], "ReduceSumSquare")
    if root is not None and squares is not None:
        return [squares, root], squares, squares.inputs[0]
    total = None if root is None else view.source(root.inputs[0], "ReduceSum")
    square = None if total is None else view.square(total.inputs[0])
    return None if root is None or total is None or square is None else ([square[0], total, root], total, square[1])


def _lowest(view: View, node: Node) -> tuple[str, float] | None:
    """For a value that is kept above a number, or to which one is added: the value and the number."""
    if node.op != "Clip":
        return view.with_number(node)
    if node.has_input(2) or "max" in node.attributes:
        return None
    number = view.graph.scalar(node.inputs[1]) if node.has_input(1) else node.attributes.get("min")
    return None if number is None else (node.inputs[0], float(number))


def scaled_l2_norm(view: View, node: Node) -> Found | None:
    """LpNormalization over channels, then a factor for each: with these as a second input."""
    if node.op != "Mul":
        return None
    for one, other in (node.inputs, node.inputs[::-1]):
        norm, scale = view.source(one, "LpNormalization"), view.graph.constants.get(other)
        shape = None if norm is None else view.graph.shapes.get(norm.inputs[0])
        if norm is None or scale is None or shape is None or len(norm.inputs) > 1 or norm.integer("axis", -1) != 1:
            continue
        if np.broadcast_shapes(shape, scale.shape) != shape:
            continue
        scale = shrunk(scale)
        of_channels = (1, shape[1], *[1] * (len(shape) - 2))
        if (1,) * (len(shape) - scale.ndim) + scale.shape == of_channels:
            name = f"{node.outputs[0]}/scale"
            view.graph.constants[name] = scale
            return [norm, node], joined("LpNormalization", node, [norm.inputs[0], name], **norm.attributes)
    return None


def group_norm(view: View, node: Node) -> Found | None:
    """Instance normalisation of groups of channels that a Reshape makes, and a Reshape back."""
    norm = view.source(node.inputs[0], "InstanceNormalization") if node.op == "Reshape" else None
    apart = None if norm is None else view.source(norm.inputs[0], "Reshape")
    if norm is None or apart is None:
        return None
    shapes, constants = view.graph.shapes, view.graph.constants
    start, groups, end = (shapes.get(value) for value in (apart.inputs[0], apart.outputs[0], node.outputs[0]))
    arrays = [constants[name] for name in norm.inputs[1:] if name in constants]
    if start is None or groups is None or start != end or len(start) < 2 or len(groups) < 3 or len(arrays) != 2:
        return None
    if groups[0] != start[0] or start[1] % groups[1]:
        return None
    names = [f"{node.outputs[0]}/{what}" for what in ("scale", "bias")]
    for name, array in zip(names, arrays, strict=True):
        constants[name] = np.repeat(array, start[1] // groups[1])
    attributes = {"num_groups": groups[1], "epsilon": norm.number("epsilon", 1e-5)}
    return [apart, norm, node], joined("GroupNormalization", node, [apart.inputs[0], *names], **attributes)
