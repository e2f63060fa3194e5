"""Normalisations that exporters take apart."""

from __future__ import annotations

import numpy as np

from dragon.importing.graph import Node
from dragon.importing.patterns.view import Found, View, joined

__all__ = ["layer_norm", "lrn"]


def layer_norm(view: View, node: Node) -> Found | None:
    """(x - mean) / sqrt(mean((x - mean)^2) + eps), with the means over the last axes."""
    if node.op != "Div":
        return None
    centred, deviation = view.source(node.inputs[0], "Sub", 3), view.source(node.inputs[1], "Sqrt")
    add = None if deviation is None else view.source(deviation.inputs[0], "Add")
    sum_ = None if add is None else view.with_number(add)
    variance = None if sum_ is None else view.source(sum_[0], "ReduceMean")
    square = (
        None if variance is None else view.source(variance.inputs[0], "Pow") or view.source(variance.inputs[0], "Mul")
    )
    if centred is None or deviation is None or add is None or sum_ is None or variance is None or square is None:
        return None
    both = square.inputs == [centred.outputs[0]] * 2
    if not both and not (square.inputs[0] == centred.outputs[0] and view.graph.scalar(square.inputs[1]) == 2):
        return None
    mean = view.source(centred.inputs[1], "ReduceMean")
    if view.reads[centred.outputs[0]] != (3 if both else 2) or mean is None or mean.inputs[0] != centred.inputs[0]:
        return None
    shape = view.graph.shapes.get(centred.inputs[0])
    axes = [view.axes(one) for one in (mean, variance)]
    if (
        shape is None
        or axes[0] is None
        or axes[0] != axes[1]
        or not all(one.integer("keepdims", 1) for one in (mean, variance))
    ):
        return None
    named = axes[0]
    if named != list(range(len(shape) - len(named), len(shape))):
        return None
    scale = f"{node.outputs[0]}/ones"
    view.graph.constants[scale] = np.ones(shape[named[0] :], np.float32)
    new = joined("LayerNormalization", node, [centred.inputs[0], scale], axis=named[0], epsilon=sum_[1])
    return [mean, centred, square, variance, add, deviation, node], new


def lrn(view: View, node: Node) -> Found | None:
    """X / (k + alpha * mean of x^2 over channels nearby) ^ beta, the mean as an average pooling along the channels."""
    power = view.source(node.inputs[1], "Pow") if node.op == "Div" else None
    beta = None if power is None else view.graph.scalar(power.inputs[1])
    add = None if power is None else view.source(power.inputs[0], "Add")
    sum_ = None if add is None else view.with_number(add)
    scaled = None if sum_ is None else view.scaled(sum_[0])
    if power is None or add is None or sum_ is None or scaled is None or beta is None:
        return None
    pooled = view.behind(scaled[1], "Reshape", "Squeeze", "Unsqueeze")
    pool = view.source(pooled, "AveragePool")
    pad = None if pool is None else view.source(pool.inputs[0], "Pad")
    square = None if pad is None else view.behind(pad.inputs[0], "Reshape", "Squeeze", "Unsqueeze")
    product = None if square is None else view.source(square, "Mul")
    x = node.inputs[0]
    if pool is None or pad is None or square is None or product is None or product.inputs != [x, x]:
        return None
    size = (pool.integers("kernel_shape") or (0,))[0]
    shapes = [view.graph.shapes.get(name, ()) for name in (x, pad.inputs[0], pad.outputs[0], pool.outputs[0])]
    given, before, padded, after = shapes
    axis = 2 if len(before) > 3 and before[1] == 1 else 1
    if len(given) < 2 or len(before) <= axis or before != after or before[axis] != given[1]:
        return None
    widened = (*before[:axis], before[axis] + size - 1, *before[axis + 1 :])
    pads = view.graph.constants.get(pad.inputs[1]) if pad.has_input(1) else None
    if (
        padded != widened
        or pads is None
        or int(pads.reshape(-1)[axis]) != size // 2
        or pad.text("mode", "constant") != "constant"
    ):
        return None
    old = [product, pad, pool, scaled[0], add, power, node]
    old += view.chain(scaled[1], pooled) + view.chain(pad.inputs[0], square)
    new = joined("LRN", node, [x], size=size, alpha=scaled[2], beta=beta, bias=sum_[1])
    return old, new
