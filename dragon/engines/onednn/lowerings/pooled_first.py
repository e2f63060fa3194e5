"""In TEST: a 1 x 1 convolution behind the average pooling that follows it in the net, as in DenseNet's transitions.

Both are linear, and a mean of pixels has the mean of their sums: mean(W x + b) = W mean(x) + b. So the convolution has
as many pixels less as the pooling's stride says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.lowerings.convolution import spec_of
from dragon.engines.onednn.lowerings.folding import WeightChain, build_chain, make_lazy
from dragon.engines.onednn.lowerings.pooling import pool
from dragon.engines.onednn.plan.builder import Backward, Builder
from dragon.memory.blob import Blob

if TYPE_CHECKING:
    from dragon.bases.convolution import ConvolutionBase
    from dragon.graph.node import Node

__all__ = ["pool_first"]


def pool_first(b: Builder, chain: WeightChain, pooling: Node) -> Backward | None:
    """Build the chain of a 1 x 1 convolution and the pooling of its top."""
    bottom, top = chain.bottom, pooling.tops[0]
    pooled = Blob((*bottom.shape[:2], *top.shape[2:]))
    spec = spec_of(b, cast("ConvolutionBase", chain.first.layer), bottom, chain.top)
    pool(b, replace(pooling, bottoms=[bottom], tops=[pooled]))
    build_chain(b, chain, pooled, top, [], replace(spec, src=pooled.shape, dst=top.shape))
    make_lazy(b, [chain], ())
    b.remark = "pooled first"
    return None
