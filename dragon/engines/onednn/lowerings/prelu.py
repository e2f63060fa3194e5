"""PReLU: slopes of the channels, or one for all, as a tensor of extents 1 elsewhere."""

from __future__ import annotations

from functools import partial

import numpy as np

from dragon.engines.onednn.kernels import eltwise
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import of_affine
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node
from dragon.memory.storage import Array

__all__ = ["prelu"]


def _slope_diff(shape: tuple[int, ...], x: Array, dy: Array) -> Array:
    """The gradient of slopes of this shape, as the reference computes it: oneDNN leaves out what is not finite."""
    along = np.where(x > 0, 0, dy * x)
    others = tuple(i for i, extent in enumerate(shape) if extent == 1)
    total: Array = along.sum(axis=others, keepdims=True)
    return total


@lowers("PReLU")
def prelu(b: Builder, node: Node) -> Backward | None:
    """Build PReLU."""
    layer = node.layer
    bottom, top = node.bottoms[0], node.tops[0]
    slope = layer.blobs[0]
    if bottom.ndim > 5:
        raise NotLoweredError("more axes than oneDNN knows here")
    shape = (1, slope.count, *(1,) * (bottom.ndim - 2))
    host = MemoryDesc.plain(shape)
    x = b.kept_source(bottom, top)
    wanted = MemoryDesc.any(shape, x.desc.dtype)
    primitive = eltwise.prelu_forward(b.device, x.desc, wanted, training=b.training, layer=layer.name)
    weights = b.weights(slope, primitive[Arg.WEIGHTS], host)
    bound = b.value_of(bottom).bound
    b.call(primitive, {Arg.SRC: x, Arg.WEIGHTS: weights, Arg.DST: b.make(top, primitive[Arg.DST])})
    if b.ahead:
        of_affine(b, bound, top, [slope], lambda: (np.maximum(np.abs(slope.peek()), 1), np.zeros(1)))
    if not (b.training and node.need_backward):
        return None
    down = eltwise.prelu_backward(b.device, primitive, x.desc, wanted, layer=layer.name)

    def backward() -> None:
        diff, add = b.weight_diff(slope, down[Arg.DIFF_WEIGHTS], host)
        dy = b.diff(top, down[Arg.DIFF_DST])
        source = {Arg.SRC: b.source_again(bottom, x, top), Arg.WEIGHTS: b.weights(slope, down[Arg.WEIGHTS], host)}
        wanted = node.propagate_down[0]
        dx = b.make_diff(bottom, down[Arg.DIFF_SRC]) if wanted else Memory(b.device, down[Arg.DIFF_SRC])
        memories = source | {Arg.DIFF_DST: dy, Arg.DIFF_SRC: dx, Arg.DIFF_WEIGHTS: diff}
        reads = [Arg.SRC, Arg.DIFF_DST]
        # with AVX2 a diff is multiplied by 0 where x is above 0, which NaN survives
        b.call_guarded(down, memories, partial(_slope_diff, shape), reads, reads, Arg.DIFF_WEIGHTS)
        if layer.param_propagate_down[0]:
            add()

    return backward
