"""Products and sums with constants that are one layer."""

from __future__ import annotations

import numpy as np

from dragon.importing.graph import Array, Node
from dragon.importing.patterns.view import Found, View, joined

__all__ = ["scale_and_bias", "scaled_norm"]


def scale_and_bias(view: View, node: Node) -> Found | None:
    """A product with a constant, then a sum with one of the same shape: "ScaleBias", with both as inputs."""
    if node.op != "Add":
        return None
    for one, bias in (node.inputs, node.inputs[::-1]):
        product, added = view.source(one, "Mul"), view.graph.constants.get(bias)
        if product is None or added is None or added.size < 2:
            continue
        for x, scale in (product.inputs, product.inputs[::-1]):
            factor, shape = view.graph.constants.get(scale), view.graph.shapes.get(x)
            if factor is None or shape is None or len(shape) < max(factor.ndim, added.ndim):
                continue
            same = _aligned(factor, len(shape)).shape == _aligned(added, len(shape)).shape
            if same and np.broadcast_shapes(shape, factor.shape) == shape:
                return [product, node], joined("ScaleBias", node, [x, scale, bias])
    return None


def scaled_norm(view: View, node: Node) -> Found | None:
    """A normalisation, then a factor and a bias for each channel: one of other factors and biases."""
    if node.op != "ScaleBias":
        return None
    found = (view.source(node.inputs[0], f"{kind}Normalization") for kind in ("Batch", "Group", "Instance"))
    norm = next((one for one in found if one is not None), None)
    constants = view.graph.constants
    shape = None if norm is None else view.graph.shapes.get(norm.inputs[0])
    if norm is None or shape is None or len(shape) < 2 or len(norm.inputs) < 3:
        return None
    scale, bias = (_aligned(constants[name], len(shape)) for name in node.inputs[1:])
    gamma, beta = constants.get(norm.inputs[1]), constants.get(norm.inputs[2])
    if gamma is None or beta is None or gamma.size != shape[1] or scale.shape != (1, shape[1], *[1] * (len(shape) - 2)):
        return None
    names = [f"{node.outputs[0]}/{what}" for what in ("scale", "bias")]
    constants[names[0]] = gamma * scale.reshape(-1)
    constants[names[1]] = beta * scale.reshape(-1) + bias.reshape(-1)
    inputs = [norm.inputs[0], *names, *norm.inputs[3:]]
    new = Node(norm.op, norm.name, inputs, list(node.outputs), norm.attributes, norm.opset, norm.titled)
    return [norm, node], new


def _aligned(array: Array, rank: int) -> Array:
    """The array with axes of extent 1 in front, `rank` in all."""
    return array.reshape(*[1] * (rank - array.ndim), *array.shape)
