"""Upsample by repetition, as oneDNN's resampling to the nearest."""

from __future__ import annotations

from dragon.engines.onednn.kernels import resampling
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import pass_on
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node

__all__ = ["upsample"]


@lowers("Upsample")
def upsample(b: Builder, node: Node) -> Backward | None:
    """Build Upsample without a mask."""
    bottoms, top, name = node.bottoms, node.tops[0], node.name
    if len(bottoms) > 1:
        raise NotLoweredError("places of a pooling")
    bottom = bottoms[0]
    x = b.data(bottom)
    primitive = resampling.forward(
        b.device, x.desc, MemoryDesc.any(top.shape, x.desc.dtype), training=b.training, layer=name
    )
    bound = b.value_of(bottom).bound
    b.call(primitive, {Arg.SRC: x, Arg.DST: b.make(top, primitive[Arg.DST])})
    pass_on(b, [bound], top)

    def backward() -> None:
        if node.propagate_down[0]:
            down = resampling.backward(b.device, primitive, primitive[Arg.DST], x.desc, layer=name)
            dy = b.diff(top, down[Arg.DIFF_DST])
            b.call(down, {Arg.DIFF_DST: dy, Arg.DIFF_SRC: b.make_diff(bottom, down[Arg.DIFF_SRC])})

    return backward
