"""Split: forward shares memory, backward adds the gradients up."""

from __future__ import annotations

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.plan.builder import Backward, Builder

__all__ = ["split"]


@lowers("Split")
def split(b: Builder, index: int) -> Backward | None:
    """Only backward: the plan knows that forward has nothing to do."""
    bottom, tops = b.net.bottoms[index][0], b.net.tops[index]

    def backward() -> None:
        if not b.net.bottom_need_backward[index][0]:
            return
        first = b.diff(tops[0])
        parts = [first, *(b.diff(top) for top in tops[1:])]
        descs = [part.desc for part in parts]
        total, arguments = combine.sum_of(b.device, descs, dst=first.desc, layer=b.net.layer_names[index])
        b.call(total, dict(zip(arguments, parts, strict=True)) | {Arg.DST: b.make_diff(bottom, first.desc)})

    return backward
