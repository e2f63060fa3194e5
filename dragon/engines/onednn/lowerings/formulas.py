"""Power, Exp, Log and SeLU: functions of oneDNN one after another, such as (shift + scale x) ^ power."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dragon.engines.onednn.kernels import eltwise
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import of_function
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node
from dragon.layers.elu import ELU
from dragon.memory.storage import Array

__all__ = ["formula"]

Function = tuple[Alg, float, float]


def _linear(scale: float, shift: float) -> list[Function]:
    return [] if (scale, shift) == (1, 0) else [(Alg.eltwise_linear, scale, shift)]


def _power(layer: Any) -> list[Function]:
    if layer.power == 1:
        return [(Alg.eltwise_linear, layer.scale, layer.shift)]
    if layer.power == 0 or layer.scale == 0:
        raise NotLoweredError("a constant")
    return [*_linear(layer.scale, layer.shift), (Alg.eltwise_pow, 1.0, layer.power)]


_FORMULAS: dict[str, Callable[[Any], list[Function]]] = {
    "Power": _power,
    "Exp": lambda layer: [*_linear(layer.inner, layer.offset), (Alg.eltwise_exp, 0.0, 0.0)],
    "Log": lambda layer: [
        *_linear(layer.scale, layer.shift),
        (Alg.eltwise_log, 0.0, 0.0),
        *_linear(layer.outer, 0.0),
    ],
    "SeLU": lambda layer: [(Alg.eltwise_elu, layer.alpha, 0.0), *_linear(layer.scale, 0.0)],
}


@lowers(*_FORMULAS)
def formula(b: Builder, node: Node) -> Backward | None:
    """Build Power, Exp, Log or SeLU. The values between the functions are kept for backward."""
    layer = node.layer
    bottom, top = node.bottoms[0], node.tops[0]
    if bottom.ndim > 6:
        raise NotLoweredError("more axes than oneDNN knows here")
    functions = _FORMULAS[layer.type](layer)
    values = [b.kept_source(bottom, top)]
    bound = b.value_of(bottom).bound
    primitives = []
    for i, (alg, alpha, beta) in enumerate(functions):
        desc = values[-1].desc
        primitive = eltwise.forward(b.device, alg, desc, alpha, beta, training=b.training, layer=layer.name)
        y = b.make(top, desc) if i == len(functions) - 1 else Memory(b.device, desc)
        memories = {Arg.SRC: values[-1], Arg.DST: y}
        if alg == Alg.eltwise_exp:  # infinite for NaN
            b.call_guarded(primitive, memories, np.exp)
        else:
            b.call(primitive, memories)
        primitives.append(primitive)
        values.append(y)
    of_function(b, bound, top, functions)

    def backward() -> None:
        if not node.propagate_down[0]:
            return
        desc = values[0].desc
        values[0], values[-1] = b.source_again(bottom, values[0], top), b.data(top, desc)
        d = b.diff(top, desc)
        for i in reversed(range(len(functions))):
            alg, alpha, beta = functions[i]
            by_result = alg == Alg.eltwise_exp
            back = eltwise.USES_DST[alg] if by_result else alg
            down = eltwise.backward(b.device, back, primitives[i], desc, alpha, beta, layer=layer.name)
            dx = b.make_diff(bottom, desc) if i == 0 else Memory(b.device, desc)
            known = {Arg.DST: values[i + 1]} if by_result else {Arg.SRC: values[i]}
            memories = known | {Arg.DIFF_DST: d, Arg.DIFF_SRC: dx}
            if alg == Alg.eltwise_elu:  # finite for NaN

                def exact(x: Array, dy: Array) -> Array:
                    found = np.empty_like(dy)
                    ELU.gradient(layer, x, found, dy, found)  # type: ignore[arg-type]
                    return found

                b.call_guarded(down, memories, exact, reads=[Arg.SRC, Arg.DIFF_DST], result=Arg.DIFF_SRC)
            else:
                b.call(down, memories)
            d = dx

    return backward
