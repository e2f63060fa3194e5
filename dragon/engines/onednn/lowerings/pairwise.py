"""Add, Mul and Axpy: element-wise over several bottoms, of which some may be repeated along axes of extent 1."""

from __future__ import annotations

import math

from dragon.engines.onednn.kernels import combine, eltwise, pooling
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import BinaryPost
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import may_measure, pass_on, product_of
from dragon.engines.onednn.lowerings.eltwise import preferred, product, weighted_total
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node

__all__ = ["add", "axpy", "mul"]


@lowers("Add")
def add(b: Builder, node: Node) -> Backward | None:
    """Build Add."""
    if not _alike(b, node):
        _repeated(b, node, Alg.binary_add)
        return None
    return weighted_total(b, node, [1.0] * len(node.bottoms))


@lowers("Mul")
def mul(b: Builder, node: Node) -> Backward | None:
    """Build Mul."""
    if not _alike(b, node):
        _repeated(b, node, Alg.binary_mul)
        return None
    return product(b, node, stable=True)


def _alike(b: Builder, node: Node) -> bool:
    first, *others = (blob.shape for blob in node.bottoms)
    if not 0 < len(first) <= 6:
        raise NotLoweredError("more axes than oneDNN knows here")
    return all(shape == first for shape in others)


def _repeated(b: Builder, node: Node, alg: Alg) -> None:
    """Forward alone: gradients would have to be summed along the repeated axes."""
    bottoms, top = node.bottoms, node.tops[0]
    if b.training and node.need_backward:
        raise NotLoweredError("gradients of repeated bottoms")
    # row-major as the repeated operand is: quirk "operand of a blocked tensor"
    x = b.data(bottoms[0], MemoryDesc.plain(top.shape, b.desc(bottoms[0]).dtype))
    bounds = [b.value_of(bottom).bound for bottom in bottoms]
    y = b.make(top, x.desc)
    for i, bottom in enumerate(bottoms[1:]):
        dims = (1,) * (top.ndim - bottom.ndim) + bottom.shape
        if bottom.shape == top.shape:
            other = b.data(bottom, x.desc)
        else:
            plain = MemoryDesc.plain(bottom.shape, b.desc(bottom).dtype) if bottom.shape else None
            if plain is None:
                raise NotLoweredError("a bottom without axes")
            other = b.data(bottom, plain).view(MemoryDesc.plain(dims, plain.dtype))
        step = combine.binary(b.device, alg, x.desc, other.desc, layer=node.name)
        b.call(step, {Arg.SRC: x if i == 0 else y, Arg.SRC_1: other, Arg.DST: y})
    if b.ahead:
        pass_on(b, bounds, top, how=product_of if alg == Alg.binary_mul else sum)
        may_measure(b, top)


@lowers("Axpy")
def axpy(b: Builder, node: Node) -> Backward:
    """Compute top = a x + y; backward dx = a dy, da = sum of x dy over each channel."""
    factor, x, y = node.bottoms
    top, name = node.tops[0], node.name
    if not 3 <= x.ndim <= 5:
        raise NotLoweredError("axes other than (N, C, 1 to 3 spatial)")
    desc = preferred([b.desc(x), b.desc(y)])
    small = MemoryDesc.plain(factor.shape, desc.dtype)
    over = x.shape[2:]
    once, none = (1,) * len(over), (0,) * len(over)
    wide = MemoryDesc.plain((*x.shape[:2], *once), desc.dtype)
    # Sums come from the library's pooling (quirk "reduction"), whose result has the layout in which one value for
    # each map is broadcast fast (quirk "operand of a blocked tensor").
    spec = pooling.PoolSpec(x.shape, wide.dims, over, once, none, Alg.pooling_avg_include_padding, desc.dtype)
    mean = pooling.forward(b.device, spec, src=desc, training=False, layer=name)
    repeated = mean[Arg.DST]
    a = Memory(b.device, repeated)
    spread = combine.reorder(b.device, wide, repeated, layer=name)
    times = combine.binary(b.device, Alg.binary_mul, desc, repeated, layer=name)
    plus = [BinaryPost(Alg.binary_add, desc)]
    product_and_sum = combine.binary(b.device, Alg.binary_mul, desc, repeated, post_ops=plus, layer=name)
    sources = b.data(factor, small).view(wide), b.data(x, desc), b.data(y, desc)
    bounds = [b.value_of(bottom).bound for bottom in node.bottoms]
    out = b.make(top, desc)
    b.call(spread, {Arg.SRC: sources[0], Arg.DST: a})
    b.call(product_and_sum, {Arg.SRC: sources[1], Arg.SRC_1: a, Arg.post_op(0): sources[2], Arg.DST: out})
    if b.ahead:
        pass_on(b, bounds, top, how=lambda largest: largest[0] * largest[1] + largest[2])
        may_measure(b, top)

    def backward() -> None:
        wanted = node.propagate_down
        dy = b.diff(top, desc)
        if wanted[0]:
            both, average = Memory(b.device, desc), Memory(b.device, repeated)
            product_of = combine.binary(b.device, Alg.binary_mul, desc, desc, layer=name)
            b.call(product_of, {Arg.SRC: dy, Arg.SRC_1: b.data(x, desc), Arg.DST: both})
            b.call(mean, {Arg.SRC: both, Arg.DST: average})
            da = b.make_diff(factor, small).view(wide)
            b.call(combine.reorder(b.device, repeated, wide, layer=name), {Arg.SRC: average, Arg.DST: da})
            count = eltwise.forward(b.device, Alg.eltwise_linear, wide, float(math.prod(over)), layer=name)
            b.call(count, {Arg.SRC: da, Arg.DST: da})
        if wanted[1]:
            then = Memory(b.device, repeated)
            b.call(spread, {Arg.SRC: b.data(factor, small).view(wide), Arg.DST: then})
            b.call(times, {Arg.SRC: dy, Arg.SRC_1: then, Arg.DST: b.make_diff(x, desc)})
        if wanted[2] and y is not top:
            b.copy_diff(top, y)

    return backward
