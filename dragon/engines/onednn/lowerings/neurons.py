"""Element-wise layers that are one oneDNN function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dragon.engines.onednn import eltwise
from dragon.engines.onednn.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.constants import Alg, Arg
from dragon.engines.onednn.lowerings import lowers

if TYPE_CHECKING:
    from dragon.layer import Layer

__all__ = ["function_of", "neuron"]

Function = tuple[Alg, float, float]


def _relu(layer: Any) -> Function:
    p = layer.param.relu_param
    if p.relu6 and layer.type == "ReLU":
        raise NotLoweredError("cut at 6")
    if p.negative_slope < 0:
        raise NotLoweredError("a negative slope below 0")
    return Alg.eltwise_relu, p.negative_slope, 0.0


_FUNCTIONS: dict[str, Callable[[Any], Function]] = {
    "ReLU": _relu,
    "Sigmoid": lambda layer: (Alg.eltwise_logistic, 0.0, 0.0),
    "TanH": lambda layer: (Alg.eltwise_tanh, 0.0, 0.0),
    "ELU": lambda layer: (Alg.eltwise_elu, layer.param.elu_param.alpha, 0.0),
    "AbsVal": lambda layer: (Alg.eltwise_abs, 0.0, 0.0),
    "BNLL": lambda layer: (Alg.eltwise_soft_relu, 1.0, 0.0),
    "Swish": lambda layer: (Alg.eltwise_swish, layer.param.swish_param.beta, 0.0),
}


def function_of(layer: Layer) -> Function:
    """Algorithm, alpha and beta of a layer; NotLoweredError where oneDNN has no such function."""
    if layer.type not in _FUNCTIONS:
        raise NotLoweredError("no such function")
    return _FUNCTIONS[layer.type](layer)


@lowers(*_FUNCTIONS)
def neuron(b: Builder, index: int) -> Backward | None:
    """In place the same memory is used; then backward must need only the result."""
    layer = b.net.layers[index]
    bottom, top = b.net.bottoms[index][0], b.net.tops[index][0]
    alg, alpha, beta = function_of(layer)
    in_place = top.data_storage is bottom.data_storage
    by_result = alg in eltwise.USES_DST and alpha >= 0
    if bottom.count == 0 or bottom.ndim > 6:
        raise NotLoweredError("empty, or more axes than oneDNN knows here")
    x = b.data(bottom)
    primitive = eltwise.forward(b.device, alg, x.desc, alpha, beta, training=b.training, layer=layer.name)
    reuse = in_place and (by_result or not b.training) and b.owns(bottom)
    y = b.make(top, x.desc, x if reuse else None)
    b.call(primitive, {Arg.SRC: x, Arg.DST: y})

    def backward() -> None:
        if not b.net.bottom_need_backward[index][0]:
            return
        back = eltwise.USES_DST[alg] if by_result else alg
        known = b.data(top) if by_result and not in_place else (y if by_result else x)
        down = eltwise.backward(b.device, back, primitive, x.desc, alpha, beta, layer=layer.name)
        dy = b.diff(top, down[Arg.DIFF_DST])
        dx = b.make_diff(bottom, down[Arg.DIFF_SRC], dy if in_place and b.owns_diff(top) else None)
        b.call(down, {Arg.DST if by_result else Arg.SRC: known, Arg.DIFF_DST: dy, Arg.DIFF_SRC: dx})

    return backward
