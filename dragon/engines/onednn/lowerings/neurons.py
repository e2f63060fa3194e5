"""Element-wise layers that are one oneDNN function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.onednn.kernels import eltwise
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Primitive
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import of_function
from dragon.engines.onednn.plan.bound import Bound
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.guarded import BoundedCall, keeping
from dragon.graph.node import Node
from dragon.layers.elu import ELU
from dragon.layers.relu import ReLU
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.bases.layer import Layer

__all__ = ["POST_OPS", "call_relu", "from_result", "function_of", "neuron"]

# algorithms whose result, or whose gradient, can be finite where the source is NaN or infinite
_LOSE_NAN = (*eltwise.LIMITS, Alg.eltwise_hardsigmoid)
_LOSE_NAN_BACKWARD = (Alg.eltwise_abs, Alg.eltwise_elu, Alg.eltwise_hardswish)

Function = tuple[Alg, float, float]


def _relu(layer: Any) -> Function:
    if layer.maximum is not None:
        if layer.slope != 0:
            raise NotLoweredError("a maximum of 6 with a negative slope")
        return Alg.eltwise_clip_v2, 0.0, layer.maximum
    return Alg.eltwise_relu, layer.slope, 0.0


_FUNCTIONS: dict[str, Callable[[Any], Function]] = {
    "ReLU": _relu,
    "ReLU6": _relu,
    "Sigmoid": lambda layer: (Alg.eltwise_logistic, 0.0, 0.0),
    "TanH": lambda layer: (Alg.eltwise_tanh, 0.0, 0.0),
    "ELU": lambda layer: (Alg.eltwise_elu, layer.param.elu_param.alpha, 0.0),
    "AbsVal": lambda layer: (Alg.eltwise_abs, 0.0, 0.0),
    "BNLL": lambda layer: (Alg.eltwise_soft_relu, 1.0, 0.0),
    "Swish": lambda layer: (Alg.eltwise_swish, layer.param.swish_param.beta, 0.0),
    "Mish": lambda layer: (Alg.eltwise_mish, 0.0, 0.0),
    "Clip": lambda layer: (Alg.eltwise_clip, layer.low, layer.high),
    "HardSigmoid": lambda layer: (Alg.eltwise_hardsigmoid, 1 / 6, 0.5),
    "HardSwish": lambda layer: (Alg.eltwise_hardswish, 1 / 6, 0.5),
}


# Those that a convolution can compute on its result in TEST: all but one that puts NaN into its limits.
POST_OPS = _FUNCTIONS.keys() - {"HardSigmoid"}


def function_of(layer: Layer) -> Function:
    """Algorithm, alpha and beta of a layer; NotLoweredError where oneDNN has no such function."""
    if layer.type not in _FUNCTIONS:
        raise NotLoweredError("no such function")
    return _FUNCTIONS[layer.type](layer)


def from_result(b: Builder, node: Node) -> None:
    """Build the backward of a neuron that needs only its result: in place, or a ReLU, whose bottom has its signs."""
    bottom, top = node.bottoms[0], node.tops[0]
    if not node.propagate_down[0]:
        return
    name = node.name
    alg, alpha, beta = function_of(node.layer)
    known = b.data(bottom)
    hint = eltwise.forward(b.device, alg, known.desc, alpha, beta, layer=name)
    down = eltwise.backward(b.device, eltwise.USES_DST[alg], hint, known.desc, alpha, beta, layer=name)
    dy = b.diff(top, down[Arg.DIFF_DST])
    dx = b.make_diff(bottom, down[Arg.DIFF_SRC], dy if top is bottom and b.owns_diff(top) else None)
    _call_backward(b, node.layer, down, {Arg.DST: known, Arg.DIFF_DST: dy, Arg.DIFF_SRC: dx})


def _call_forward(
    b: Builder, layer: Any, alg: Alg, primitive: Primitive, memories: dict[int, Memory], bound: Bound | None
) -> None:
    if alg == Alg.eltwise_relu and layer.slope == 0:
        call_relu(b, primitive, memories, bound)
        return
    plain_logistic = alg == Alg.eltwise_logistic and not primitive.implementation.startswith("jit")  # 0 for NaN
    if alg not in _LOSE_NAN and not plain_logistic:
        b.call(primitive, memories)
        return

    def exact(x: Array) -> Array:
        y = np.empty_like(x)
        layer.activate(x, y)
        return y

    b.call_guarded(primitive, memories, exact, bound=bound)


def call_relu(b: Builder, primitive: Primitive, memories: dict[int, Memory], bound: Bound | None) -> None:
    """The ReLU that keeps NaN, or the faster one while the bound holds."""
    desc, alg = memories[Arg.SRC].desc, eltwise.keeping_nan(Alg.eltwise_relu, 0)
    other = partial(eltwise.forward, b.device, alg, desc, training=b.training, layer=primitive.layer)
    if bound is None:
        b.call(other(), memories)
    else:
        b.run(BoundedCall(primitive, memories, None, bound, keeping(memories, other)))


def _call_backward(b: Builder, layer: Any, down: Primitive, memories: dict[int, Memory]) -> None:
    if function_of(layer)[0] not in _LOSE_NAN_BACKWARD:
        b.call(down, memories)
        return

    known = Arg.DST if Arg.DST in memories else Arg.SRC

    def exact(x: Array, dy: Array) -> Array:
        y, dx = x, np.empty_like(dy)
        if known == Arg.SRC:
            y = np.empty_like(x)
            layer.activate(x, y)
        layer.gradient(x, y, dy, dx)
        return dx

    b.call_guarded(down, memories, exact, checked=[known], reads=[known, Arg.DIFF_DST], result=Arg.DIFF_SRC)


@lowers(*_FUNCTIONS)
def neuron(b: Builder, node: Node) -> Backward | None:
    """Build an element-wise layer. In place it uses one memory, if its backward needs only the result."""
    layer = node.layer
    bottom, top = node.bottoms[0], node.tops[0]
    alg, alpha, beta = function_of(layer)
    in_place = top.data_storage is bottom.data_storage
    # the reference of these uses the signs of the bottom, which is the result if they work in place
    by_signs = isinstance(layer, (ReLU, ELU))
    by_result = alg in eltwise.USES_DST and alpha >= 0 and (in_place or not by_signs)
    if bottom.ndim > 6:
        raise NotLoweredError("more axes than oneDNN knows here")
    x = b.data(bottom) if by_result else b.kept_source(bottom, top)
    primitive = eltwise.forward(b.device, alg, x.desc, alpha, beta, training=b.training, layer=layer.name)
    bound = b.value_of(bottom).bound
    reuse = in_place and (by_result or not b.training) and b.owns(bottom)
    y = b.make(top, x.desc, x if reuse else None)
    _call_forward(b, layer, alg, primitive, {Arg.SRC: x, Arg.DST: y}, bound)
    of_function(b, bound, top, [(alg, alpha, beta)])

    def backward() -> None:
        if not node.propagate_down[0]:
            return
        back = eltwise.USES_DST[alg] if by_result else alg
        known = {Arg.DST: b.data(top, y.desc)} if by_result else {Arg.SRC: b.source_again(bottom, x, top)}
        # at the lower bound itself Caffe lets the gradient of Clip through, oneDNN does not
        least = float(np.nextafter(np.float32(alpha), np.float32(-np.inf))) if alg == Alg.eltwise_clip else alpha
        down = eltwise.backward(b.device, back, primitive, x.desc, least, beta, layer=layer.name)
        dy = b.diff(top, down[Arg.DIFF_DST])
        dx = b.make_diff(bottom, down[Arg.DIFF_SRC], dy if in_place and b.owns_diff(top) else None)
        _call_backward(b, node.layer, down, known | {Arg.DIFF_DST: dy, Arg.DIFF_SRC: dx})

    return backward
