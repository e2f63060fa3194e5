"""In training: a convolution or inner product with the neuron that works in place on its top.

The neuron is a post-op of forward; its backward, which needs only the result, stays a step of its own.
"""

from __future__ import annotations

from functools import partial

from dragon.engines.onednn.kernels import eltwise
from dragon.engines.onednn.library.primitive import EltwisePost
from dragon.engines.onednn.lowerings.convolution import convolve
from dragon.engines.onednn.lowerings.inner_product import multiply
from dragon.engines.onednn.lowerings.neurons import from_result, function_of
from dragon.engines.onednn.lowerings.parameters import Epilogue
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node

__all__ = ["activated"]


def activated(b: Builder, node: Node, neuron: Node) -> Backward | None:
    layer, top = node.layer, node.tops[0]
    alg, alpha, beta = function_of(neuron.layer)
    if alg not in eltwise.USES_DST or alpha < 0:
        raise NotLoweredError("a backward that needs the input")
    epilogue = Epilogue(top, [EltwisePost(alg, alpha, beta)])
    learn = multiply(b, node, epilogue) if layer.type == "InnerProduct" else convolve(b, node, 0, epilogue)
    b.parts[neuron.index] = partial(from_result, b, neuron)
    b.parts[node.index] = learn

    def backward() -> None:
        from_result(b, neuron)
        learn()

    return backward
