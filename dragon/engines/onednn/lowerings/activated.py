"""In training: a convolution or inner product with the neuron that works in place on its top.

The neuron is a post-op of forward; its backward, which needs only the result, stays a step of its own.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from dragon.engines.onednn.kernels import eltwise
from dragon.engines.onednn.library.primitive import EltwisePost
from dragon.engines.onednn.lowerings.bounds import of_product
from dragon.engines.onednn.lowerings.convolution import convolve
from dragon.engines.onednn.lowerings.inner_product import multiply
from dragon.engines.onednn.lowerings.neurons import from_result, function_of
from dragon.engines.onednn.lowerings.parameters import Epilogue
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node

__all__ = ["activated", "with_neuron"]


def with_neuron(b: Builder, node: Node, neuron: Node, epilogue: Epilogue) -> Epilogue:
    """The function of layer `neuron` as the last post-op of layer `node`.

    oneDNN's ReLU is the fastest, but gives 0 for NaN: it is used in the runs in which a bound excludes NaN. A maximum,
    such as ReLU6 has, always needs a bound.
    """
    layer: Any = node.layer
    alg, alpha, beta = function_of(neuron.layer)
    limits = alg in eltwise.LIMITS
    bound = None
    if limits or eltwise.keeping_nan(alg, alpha) != alg:
        bound = of_product(
            b, node.bottoms[0], epilogue, epilogue.parameters_of(b, layer), limits, b.ranges.get(node.name)
        )
    if bound is None:
        if limits:
            raise NotLoweredError("as a post-op it would turn NaN into a number")
        alg = eltwise.keeping_nan(alg, alpha)
    return replace(epilogue, post_ops=[*epilogue.post_ops, EltwisePost(alg, alpha, beta)], bound=bound)


def activated(b: Builder, node: Node, neuron: Node) -> Backward | None:
    """Build a convolution or inner product fused with the neuron in place on its top."""
    layer, top = node.layer, node.tops[0]
    alg, alpha, _ = function_of(neuron.layer)
    if alg not in eltwise.USES_DST or alpha < 0:
        raise NotLoweredError("a backward that needs the input")
    epilogue = with_neuron(b, node, neuron, Epilogue(top))
    learn = multiply(b, node, epilogue) if layer.type == "InnerProduct" else convolve(b, node, 0, epilogue)
    b.parts[neuron.index] = partial(from_result, b, neuron)
    b.parts[node.index] = learn

    def backward() -> None:
        from_result(b, neuron)
        learn()

    return backward
