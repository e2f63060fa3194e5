"""Eltwise: weighted sum, product, and maximum of bottoms of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.engines.onednn.kernels import combine, eltwise
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import joined, may_measure, pass_on, product_of
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node
from dragon.layers.eltwise import PROD, SUM

if TYPE_CHECKING:
    from dragon.layers.eltwise import Eltwise

__all__ = ["eltwise_layer", "preferred", "product", "weighted_total"]


def preferred(descs: Sequence[MemoryDesc]) -> MemoryDesc:
    """The common layout to convert several sources to: the first one that is not row-major, else the first."""
    return next((desc for desc in descs if not desc.is_row_major), descs[0])


@lowers("Eltwise")
def eltwise_layer(b: Builder, node: Node) -> Backward | None:
    """Build Eltwise."""
    layer = cast("Eltwise", node.layer)
    if node.bottoms[0].ndim > 6:
        raise NotLoweredError("more axes than oneDNN knows here")
    if layer.operation == SUM:
        return weighted_total(b, node, layer.coeff)
    return product(b, node, layer.stable) if layer.operation == PROD else _maximum(b, node, layer)


def product(b: Builder, node: Node, stable: bool) -> Backward:
    """The product of bottoms of one shape. stable: gradients as products, not as quotients."""
    name = node.name
    bottoms, top = node.bottoms, node.tops[0]
    desc = preferred([b.desc(bottom) for bottom in bottoms])
    sources = [b.data(bottom, desc) for bottom in bottoms]
    times = combine.binary(b.device, Alg.binary_mul, desc, desc, layer=name)

    def multiply(factors: Sequence[Memory], out: Memory) -> None:
        for i, factor in enumerate(factors[1:]):
            b.call(times, {Arg.SRC: factors[0] if i == 0 else out, Arg.SRC_1: factor, Arg.DST: out})

    bounds = [b.value_of(bottom).bound for bottom in bottoms]
    multiply(sources, b.make(top, desc))
    if b.ahead:
        pass_on(b, bounds, top, how=product_of)
        may_measure(b, top)

    def backward() -> None:
        """The other factors times dy; as a quotient y / x_i * dy, the reference gives 0 / 0 where a factor is 0."""
        dy = b.diff(top, desc)
        for i in reversed(range(len(bottoms))):
            if not node.propagate_down[i]:
                continue
            if stable:
                others = [b.data(other, desc) for j, other in enumerate(bottoms) if j != i]
                multiply([dy, *others], b.make_diff(bottoms[i], desc))
                continue
            divide = combine.binary(b.device, Alg.binary_div, desc, desc, layer=name)
            y, x, dx = b.data(top, desc), b.data(bottoms[i], desc), b.make_diff(bottoms[i], desc)
            b.call(divide, {Arg.SRC: y, Arg.SRC_1: x, Arg.DST: dx})
            multiply([dx, dy], dx)

    return backward


def _maximum(b: Builder, node: Node, layer: Eltwise) -> Backward:
    """Build a maximum. Forward saves where each bottom was greater than those before it, as tensors of 1 and 0.

    Of equal values the second of the first two bottoms wins, then the earlier one, as in the reference.
    """
    bottoms, top = node.bottoms, node.tops[0]
    desc = preferred([b.desc(bottom) for bottom in bottoms])
    sources = [b.data(bottom, desc) for bottom in bottoms]
    bound = joined(b, [b.value_of(bottom).bound for bottom in bottoms], np.max)
    y = b.make(top, desc)
    largest = combine.binary(b.device, Alg.binary_max, desc, desc, layer=layer.name)
    greater = combine.binary(b.device, Alg.binary_gt, desc, desc, layer=layer.name)
    won: dict[int, Memory] = {}  # by bottom; the second has what the others leave
    for i, source in enumerate(sources[1:], 1):
        before = sources[0] if i == 1 else y
        if b.training and node.need_backward:
            winner = 0 if i == 1 else i
            won[winner] = Memory(b.device, desc)
            first, second = (before, source) if i == 1 else (source, before)
            b.call(greater, {Arg.SRC: first, Arg.SRC_1: second, Arg.DST: won[winner]})
        both = [Arg.SRC, Arg.SRC_1]
        memories = {Arg.SRC: before, Arg.SRC_1: source, Arg.DST: y}
        b.call_guarded(largest, memories, np.maximum, checked=both, bound=bound)
    b.value_of(top).bound = bound

    def backward() -> None:
        times = combine.binary(b.device, Alg.binary_mul, desc, desc, layer=layer.name)
        minus = combine.binary(b.device, Alg.binary_sub, desc, desc, layer=layer.name)
        rest = b.diff(top, desc)
        for i in (*reversed(range(2, len(bottoms))), 0):
            wanted = node.propagate_down[i]
            dx = b.make_diff(bottoms[i], desc) if wanted else Memory(b.device, desc)
            b.call(times, {Arg.SRC: rest, Arg.SRC_1: won[i], Arg.DST: dx})
            left = Memory(b.device, desc)
            if i == 0:
                if not node.propagate_down[1]:
                    return
                left = b.make_diff(bottoms[1], desc)
            b.call(minus, {Arg.SRC: rest, Arg.SRC_1: dx, Arg.DST: left})
            rest = left

    return backward


def weighted_total(b: Builder, node: Node, coeff: Sequence[float]) -> Backward:
    """The sum of bottoms of one shape, each times a coefficient."""
    name = node.name
    bottoms, top = node.bottoms, node.tops[0]
    desc = preferred([b.desc(bottom) for bottom in bottoms])
    sources = [b.data(bottom, desc) for bottom in bottoms]
    primitive, arguments = combine.sum_of(b.device, [desc] * len(sources), coeff, dst=desc, layer=name)
    bounds = [b.value_of(bottom).bound for bottom in bottoms]
    b.call(primitive, dict(zip(arguments, sources, strict=True)) | {Arg.DST: b.make(top, desc)})
    if b.ahead:
        pass_on(b, bounds, top, max(map(abs, coeff)), None if min(coeff) >= 0 else False)
        may_measure(b, top)

    def backward() -> None:
        for i in reversed(range(len(bottoms))):
            if not node.propagate_down[i]:
                continue
            if coeff[i] == 1:
                if bottoms[i] is not top:
                    b.copy_diff(top, bottoms[i])
                continue
            dy = b.diff(top)
            scaled(b, name, dy, coeff[i], b.make_diff(bottoms[i], dy.desc))

    return backward


def scaled(b: Builder, name: str, source: Memory, factor: float, target: Memory) -> None:
    """Append target = factor * source."""
    primitive = eltwise.forward(b.device, Alg.eltwise_linear, source.desc, factor, 0.0, layer=name)
    b.call(primitive, {Arg.SRC: source, Arg.DST: target})
