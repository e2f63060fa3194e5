"""ReLU moved after a maximum pooling: max(relu(x)) = relu(max(x)), on a quarter of the elements or less."""

from __future__ import annotations

from functools import partial

import numpy as np

from dragon.engines.onednn.kernels import eltwise
from dragon.engines.onednn.library.constants import Alg, Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings.bounds import may_measure, pass_on
from dragon.engines.onednn.lowerings.neurons import call_relu, from_result
from dragon.engines.onednn.lowerings.pooling import pool
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.engines.onednn.plan.values import Value
from dragon.graph.node import Node
from dragon.memory.storage import Array

__all__ = ["relu_pool"]


def relu_pool(b: Builder, relu: Node, pooling: Node) -> Backward | None:
    """Build a maximum pooling and then the ReLU. The ReLU's blob is lazy: it is relu(x) when it is read."""
    blob, top = relu.bottoms[0], pooling.tops[0]
    if not (b.owns(blob) if b.training else b.has(blob)):
        raise NotLoweredError("a source on the host")
    source = b.value_of(blob)
    assert isinstance(source, Value)
    name = relu.name

    def masked(desc: MemoryDesc) -> Memory:
        """The top's diff where the ReLU passes it, else 0, in other memory than the top's diff."""
        alg = Alg.eltwise_relu_use_dst_for_bwd
        down = eltwise.backward(b.device, alg, primitive, y.desc, diff=desc, layer=name)
        out = Memory(b.device, down[Arg.DIFF_SRC])
        b.call(down, {Arg.DST: y, Arg.DIFF_DST: b.diff(top, down[Arg.DIFF_DST]), Arg.DIFF_SRC: out})
        return out

    backward = pool(b, pooling, masked)
    y = b.data(top)
    primitive = eltwise.forward(b.device, Alg.eltwise_relu, y.desc, training=b.training, layer=name)
    bound = source.bound
    call_relu(b, primitive, {Arg.SRC: y, Arg.DST: b.make(top, y.desc, y)}, bound)
    pass_on(b, [bound], top, positive=True)
    may_measure(b, top)
    if b.training:
        b.protect(y)

    count = blob.count

    def rectified(host: Array) -> None:
        part = host[:count]
        source.copy.to_host(part)
        np.maximum(part, 0, out=part)

    b.make_lazy(blob.data_storage, rectified)

    def pool_alone() -> None:
        """Build backward of the pooling alone, from relu(x): among zeros the maximum may be at another position."""
        alg = eltwise.keeping_nan(Alg.eltwise_relu, 0)
        forward = eltwise.forward(b.device, alg, source.memory.desc, layer=name)
        again = Memory(b.device, source.memory.desc)
        b.call(forward, {Arg.SRC: source.memory, Arg.DST: again})
        build = pool(b, pooling, source=again)
        assert build is not None
        build()

    b.parts[pooling.index] = pool_alone
    b.parts[relu.index] = partial(from_result, b, relu)
    return backward
