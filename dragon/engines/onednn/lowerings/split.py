"""Split: forward shares memory, backward adds the gradients up."""

from __future__ import annotations

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.plan.builder import Backward, Builder
from dragon.graph.node import Node

__all__ = ["split"]


@lowers("Split")
def split(b: Builder, node: Node) -> Backward | None:
    """Build backward. Forward has nothing to compute, as the plan knows."""
    bottom, tops = node.bottoms[0], node.tops

    def backward() -> None:
        if not node.propagate_down[0]:
            return
        first = b.diff(tops[0])
        parts = [first, *(b.diff(top) for top in tops[1:])]
        descs = [part.desc for part in parts]
        total, arguments = combine.sum_of(b.device, descs, dst=first.desc, layer=node.name)
        b.call(total, dict(zip(arguments, parts, strict=True)) | {Arg.DST: b.make_diff(bottom, first.desc)})

    return backward
