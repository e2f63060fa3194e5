"""Functions of each element: activations, powers, and layers that do nothing in TEST."""

from __future__ import annotations

from typing import Any

from dragon.export.onnx.forms import Form, writes
from dragon.export.onnx.graph import Graph
from dragon.graph.node import Node


def _plain(kind: str) -> Form:
    """The form of a layer that is one operator without settings."""
    return lambda g, node: g.op(kind, g.bottom(node))


writes("Sigmoid")(_plain("Sigmoid"))
writes("TanH")(_plain("Tanh"))
writes("AbsVal")(_plain("Abs"))
writes("BNLL")(_plain("Softplus"))


@writes("ReLU", "ReLU6")
def relu(g: Graph, node: Node) -> str:
    """Relu, LeakyRelu, or Clip where there is a maximum."""
    layer: Any = node.layer
    x = g.bottom(node)
    if layer.slope == 0 and layer.maximum is not None:
        return g.op("Clip", x, g.number(0), g.number(layer.maximum))
    y = g.op("Relu", x) if layer.slope == 0 else g.op("LeakyRelu", x, alpha=float(layer.slope))
    return y if layer.maximum is None else g.op("Min", y, g.number(layer.maximum))


@writes("Insanity")
def insanity(g: Graph, node: Node) -> str:
    """LeakyRelu with the slope of TEST."""
    layer: Any = node.layer
    return g.op("LeakyRelu", g.bottom(node), alpha=1 / layer.mean)


@writes("PReLU")
def prelu(g: Graph, node: Node) -> str:
    """The operator PRelu, with a slope that broadcasts."""
    slope = node.layer.blobs[0]
    shape = (slope.count, *[1] * (node.bottoms[0].ndim - 2))
    return g.op("PRelu", g.bottom(node), g.blob(slope, "slope", shape))


@writes("ELU")
def elu(g: Graph, node: Node) -> str:
    """The operator Elu, with its alpha."""
    return g.op("Elu", g.bottom(node), alpha=float(node.layer.param.elu_param.alpha))


@writes("SeLU")
def selu(g: Graph, node: Node) -> str:
    """The operator Selu, with both of its factors."""
    layer: Any = node.layer
    return g.op("Selu", g.bottom(node), alpha=layer.alpha, gamma=layer.scale)


@writes("Mish")
def mish(g: Graph, node: Node) -> str:
    """Mish, which opset 18 brought."""
    x = g.bottom(node)
    return g.op("Mish", x) if g.opset >= 18 else g.op("Mul", x, g.op("Tanh", g.op("Softplus", x)))


@writes("Clip")
def clip(g: Graph, node: Node) -> str:
    """The operator Clip; its limits are inputs."""
    layer: Any = node.layer
    return g.op("Clip", g.bottom(node), g.number(layer.low), g.number(layer.high))


@writes("HardSigmoid")
def hard_sigmoid(g: Graph, node: Node) -> str:
    """HardSigmoid with a slope of 1/6."""
    return g.op("HardSigmoid", g.bottom(node), alpha=1 / 6, beta=0.5)


@writes("HardSwish")
def hard_swish(g: Graph, node: Node) -> str:
    """HardSwish, which opset 14 brought."""
    x = g.bottom(node)
    if g.opset >= 14:
        return g.op("HardSwish", x)
    return g.op("Mul", x, g.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))


@writes("Swish")
def swish(g: Graph, node: Node) -> str:
    """Mul of the bottom and Sigmoid(beta x)."""
    layer: Any = node.layer
    x = g.bottom(node)
    return g.op("Mul", x, g.op("Sigmoid", g.scaled(x, layer.beta)))


@writes("Power")
def power(g: Graph, node: Node) -> str:
    """Mul, Add and Pow, without those that do nothing."""
    layer: Any = node.layer
    inner = g.scaled(g.bottom(node), layer.scale, layer.shift)
    if layer.power == 1:
        return inner
    return g.op("Mul", inner, inner) if layer.power == 2 else g.op("Pow", inner, g.number(layer.power))


@writes("Exp")
def exp(g: Graph, node: Node) -> str:
    """Exp of a scaled and shifted bottom."""
    layer: Any = node.layer
    return g.op("Exp", g.scaled(g.bottom(node), layer.inner, layer.offset))


@writes("Log")
def log(g: Graph, node: Node) -> str:
    """Log of a scaled and shifted bottom, scaled."""
    layer: Any = node.layer
    return g.scaled(g.op("Log", g.scaled(g.bottom(node), layer.scale, layer.shift)), layer.outer)


@writes("Threshold")
def threshold(g: Graph, node: Node) -> str:
    """Greater, as numbers."""
    limit = g.number(node.layer.param.threshold_param.threshold)
    return g.cast(g.op("Greater", g.bottom(node), limit), "FLOAT")


@writes("Dropout")
def dropout(g: Graph, node: Node) -> str:
    """Nothing, or a factor with `scale_train: false`."""
    layer: Any = node.layer
    return g.scaled(g.bottom(node), layer.test_scale)


@writes("NoisyBN", "SpatialDropout", "Split")
def nothing(g: Graph, node: Node) -> list[str]:
    """No operator: the tops are the bottom."""
    return [g.bottom(node)] * len(node.tops)
