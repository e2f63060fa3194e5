"""In training: a convolution or inner product with the neuron that works in place on its top.

The neuron is a post-op of forward; its backward, which needs only the result, stays a step of its own.
"""

from __future__ import annotations

from dragon.engines.onednn import eltwise
from dragon.engines.onednn.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.constants import Arg
from dragon.engines.onednn.lowerings.convolution import convolve
from dragon.engines.onednn.lowerings.inner_product import multiply
from dragon.engines.onednn.lowerings.neurons import function_of
from dragon.engines.onednn.primitive import EltwisePost

__all__ = ["activated"]


def activated(b: Builder, index: int, neuron: int) -> Backward | None:
    net = b.net
    layer, top = net.layers[index], net.tops[index][0]
    alg, alpha, beta = function_of(net.layers[neuron])
    if alg not in eltwise.USES_DST or alpha < 0:
        raise NotLoweredError("a backward that needs the input")
    post = [EltwisePost(alg, alpha, beta)]
    learn = multiply(b, index, top, post) if layer.type == "InnerProduct" else convolve(b, index, 0, top, post)
    desc = b.data(top).desc

    def backward() -> None:
        if net.bottom_need_backward[neuron][0]:
            hint = eltwise.forward(b.device, alg, desc, alpha, beta, layer=net.layer_names[neuron])
            back = eltwise.USES_DST[alg]
            down = eltwise.backward(b.device, back, hint, desc, alpha, beta, layer=net.layer_names[neuron])
            dy = b.diff(top, down[Arg.DIFF_DST])
            dx = b.make_diff(top, down[Arg.DIFF_SRC], dy if b.owns_diff(top) else None)
            b.call(down, {Arg.DST: b.data(top, desc), Arg.DIFF_DST: dy, Arg.DIFF_SRC: dx})
        learn()

    return backward
