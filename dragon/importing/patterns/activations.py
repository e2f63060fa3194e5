"""Activations that exporters take apart."""

from __future__ import annotations

import math

from dragon.importing.graph import Node
from dragon.importing.patterns.view import Found, View, close, joined

__all__ = ["gelu", "hard_sigmoid", "hard_swish", "hard_swish_scaled_behind", "mish", "softplus", "swish"]


def _limits(view: View, node: Node) -> tuple[float, float] | None:
    if "min" in node.attributes or "max" in node.attributes:
        return node.number("min", -math.inf), node.number("max", math.inf)
    values = [view.graph.scalar(node.inputs[k]) if node.has_input(k) else None for k in (1, 2)]
    return None if values[0] is None or values[1] is None else (values[0], values[1])


def _clipped_sum(view: View, value: str) -> tuple[list[Node], str] | None:
    """For clip(x + 3, 0, 6): the nodes and x."""
    clip = view.source(value, "Clip")
    if clip is None or _limits(view, clip) != (0.0, 6.0):
        return None
    add = view.source(clip.inputs[0], "Add")
    found = None if add is None else view.with_number(add)
    return None if add is None or found is None or found[1] != 3 else ([add, clip], found[0])


def hard_sigmoid(view: View, node: Node) -> Found | None:
    """clip(x + 3, 0, 6) / 6."""
    scaled = view.factor(node)
    inner = None if scaled is None or not close(scaled[1], 1 / 6) else _clipped_sum(view, scaled[0])
    if inner is None:
        return None
    return [*inner[0], node], joined("HardSigmoid", node, [inner[1]], alpha=1 / 6, beta=0.5)


def hard_swish(view: View, node: Node) -> Found | None:
    """X * hard_sigmoid(x)."""
    if node.op != "Mul":
        return None
    for x, gate in (node.inputs, node.inputs[::-1]):
        sigmoid = view.source(gate, "HardSigmoid")
        if sigmoid is None or sigmoid.inputs != [x] or sigmoid.number("beta", 0.5) != 0.5:
            continue
        if close(sigmoid.number("alpha", 0.2), 1 / 6):
            return [sigmoid, node], joined("HardSwish", node, [x])
    return None


def hard_swish_scaled_behind(view: View, node: Node) -> Found | None:
    """(x * clip(x + 3, 0, 6)) / 6."""
    found = view.factor(node)
    if found is None or not close(found[1], 1 / 6):
        return None
    product = view.source(found[0], "Mul")
    for x, gate in (product.inputs, product.inputs[::-1]) if product is not None else ():
        inner = _clipped_sum(view, gate)
        if product is not None and inner is not None and inner[1] == x:
            return [*inner[0], product, node], joined("HardSwish", node, [x])
    return None


def swish(view: View, node: Node) -> Found | None:
    """X * sigmoid(x) and x * sigmoid(factor * x)."""
    if node.op != "Mul":
        return None
    for x, gate in (node.inputs, node.inputs[::-1]):
        sigmoid = view.source(gate, "Sigmoid")
        if sigmoid is None:
            continue
        if sigmoid.inputs[0] == x:
            return [sigmoid, node], joined("Swish", node, [x])
        scaled = view.scaled(sigmoid.inputs[0])
        if scaled is not None and scaled[1] == x:
            return [scaled[0], sigmoid, node], joined("Swish", node, [x], alpha=scaled[2])
    return None


def gelu(view: View, node: Node) -> Found | None:
    """X / 2 * (1 + erf(x / sqrt 2)), in any order of its products."""
    if node.op != "Mul":
        return None
    for one, other in (node.inputs, node.inputs[::-1]):
        # (x * (1 + erf)) * 0.5, (0.5 * x) * (1 + erf), x * (0.5 * (1 + erf))
        number = view.graph.scalar(other)
        if number is not None and close(number, 0.5):
            product = view.source(one, "Mul")
            for x, gate in (product.inputs, product.inputs[::-1]) if product is not None else ():
                inner = _one_plus_erf(view, gate)
                if product is not None and inner is not None and inner[1] == x:
                    return [*inner[0], product, node], joined("Gelu", node, [x])
        inner = _one_plus_erf(view, other)
        half = view.scaled(one)
        if inner is not None and half is not None and close(half[2], 0.5) and half[1] == inner[1]:
            return [*inner[0], half[0], node], joined("Gelu", node, [inner[1]])
        half = view.scaled(other)
        inner = None if half is None or not close(half[2], 0.5) else _one_plus_erf(view, half[1])
        if inner is not None and half is not None and inner[1] == one:
            return [*inner[0], half[0], node], joined("Gelu", node, [one])
    return None


def _one_plus_erf(view: View, value: str) -> tuple[list[Node], str] | None:
    """For 1 + erf(x / sqrt 2): the nodes and x."""
    add = view.source(value, "Add")
    found = None if add is None else view.with_number(add)
    erf = None if found is None or found[1] != 1 else view.source(found[0], "Erf")
    scaled = None if erf is None else view.scaled(erf.inputs[0])
    if add is None or erf is None or scaled is None or not close(scaled[2], math.sqrt(0.5)):
        return None
    return [scaled[0], erf, add], scaled[1]


def mish(view: View, node: Node) -> Found | None:
    """A product x * tanh(softplus(x))."""
    if node.op != "Mul":
        return None
    for x, gate in (node.inputs, node.inputs[::-1]):
        tanh = view.source(gate, "Tanh")
        plus = None if tanh is None else view.source(tanh.inputs[0], "Softplus")
        if tanh is not None and plus is not None and plus.inputs == [x]:
            return [plus, tanh, node], joined("Mish", node, [x])
    return None


def softplus(view: View, node: Node) -> Found | None:
    """where(x > limit, x, softplus(x)), as PyTorch writes it: above its limit of 20 both are equal in float32."""
    if node.op != "Where":
        return None
    above, plus = view.source(node.inputs[0], "Greater"), view.source(node.inputs[2], "Softplus")
    if above is None or plus is None or not above.inputs[0] == plus.inputs[0] == node.inputs[1]:
        return None
    limit = view.graph.scalar(above.inputs[1])
    return None if limit is None or limit < 20 else ([above, plus, node], joined("Softplus", node, [node.inputs[1]]))
