"""Eltwise: weighted sum, product, and maximum of bottoms of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from dragon.engines.onednn import combine, eltwise
from dragon.engines.onednn.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.constants import Alg, Arg
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.memory import Memory, MemoryDesc
from dragon.layers.eltwise import PROD, SUM

if TYPE_CHECKING:
    from dragon.layers.eltwise import Eltwise

__all__ = ["eltwise_layer", "preferred"]


def preferred(descs: Sequence[MemoryDesc]) -> MemoryDesc:
    """The layout in which several sources meet: a blocked one if there is one, else the first."""
    return next((desc for desc in descs if not desc.is_row_major), descs[0])


@lowers("Eltwise")
def eltwise_layer(b: Builder, index: int) -> Backward | None:
    layer = cast("Eltwise", b.net.layers[index])
    bottoms, top = b.net.bottoms[index], b.net.tops[index][0]
    if bottoms[0].ndim > 6:
        raise NotLoweredError("more axes than oneDNN knows here")
    if layer.operation == SUM:
        return _sum(b, index, layer)
    if b.training and b.net.layer_need_backward[index]:
        if layer.operation != PROD:
            raise NotLoweredError("a maximum, which has to note the winners")
        if len(bottoms) > 2:
            raise NotLoweredError("the gradient of a product of more than two")
    desc = preferred([b.desc(bottom) for bottom in bottoms])
    sources = [b.data(bottom, desc) for bottom in bottoms]
    alg = Alg.binary_mul if layer.operation == PROD else Alg.binary_max
    primitive = combine.binary(b.device, alg, desc, desc, layer=layer.name)
    y = b.make(top, desc)
    for i, source in enumerate(sources[1:]):
        b.call(primitive, {Arg.SRC: sources[0] if i == 0 else y, Arg.SRC_1: source, Arg.DST: y})

    def backward() -> None:
        """Of a product of two; as a quotient, the reference gives 0 / 0 where a factor is 0."""
        flags = b.net.bottom_need_backward[index]
        if not layer.stable:
            _quotients(b, index, desc)
            return
        dy = b.diff(top, desc)
        for i in (1, 0):
            if flags[i]:
                other = b.data(bottoms[1 - i], desc)
                b.call(primitive, {Arg.SRC: dy, Arg.SRC_1: other, Arg.DST: b.make_diff(bottoms[i], desc)})

    return backward


def _quotients(b: Builder, index: int, desc: MemoryDesc) -> None:
    """dx_i = y / x_i * dy."""
    bottoms, top = b.net.bottoms[index], b.net.tops[index][0]
    name = b.net.layer_names[index]
    divide = combine.binary(b.device, Alg.binary_div, desc, desc, layer=name)
    multiply = combine.binary(b.device, Alg.binary_mul, desc, desc, layer=name)
    y, dy = b.data(top, desc), b.diff(top, desc)
    for i in (1, 0):
        if b.net.bottom_need_backward[index][i]:
            dx = b.make_diff(bottoms[i], desc)
            b.call(divide, {Arg.SRC: y, Arg.SRC_1: b.data(bottoms[i], desc), Arg.DST: dx})
            b.call(multiply, {Arg.SRC: dx, Arg.SRC_1: dy, Arg.DST: dx})


def _sum(b: Builder, index: int, layer: Eltwise) -> Backward | None:
    bottoms, top = b.net.bottoms[index], b.net.tops[index][0]
    desc = preferred([b.desc(bottom) for bottom in bottoms])
    sources = [b.data(bottom, desc) for bottom in bottoms]
    primitive = combine.weighted_sum(b.device, [desc] * len(sources), layer.coeff, dst=desc, layer=layer.name)
    memories = {Arg.MULTIPLE_SRC + i: source for i, source in enumerate(sources)}
    b.call(primitive, memories | {Arg.DST: b.make(top, desc)})

    def backward() -> None:
        for i in reversed(range(len(bottoms))):
            if not b.net.bottom_need_backward[index][i]:
                continue
            if layer.coeff[i] == 1:
                if bottoms[i] is not top:
                    b.copy_diff(top, bottoms[i])
                continue
            dy = b.diff(top)
            scaled(b, layer.name, dy, layer.coeff[i], b.make_diff(bottoms[i], dy.desc))

    return backward


def scaled(b: Builder, name: str, source: Memory, factor: float, target: Memory) -> None:
    """Append target = factor * source."""
    primitive = eltwise.forward(b.device, Alg.eltwise_linear, source.desc, factor, 0.0, layer=name)
    b.call(primitive, {Arg.SRC: source, Arg.DST: target})
