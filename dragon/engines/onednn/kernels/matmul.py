"""Products of matrices, in batches."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.primitive import Attributes, PostOp, Primitive

__all__ = ["matmul"]


def matmul(
    device: Device,
    src: MemoryDesc,
    weights: MemoryDesc,
    dst: MemoryDesc,
    *,
    post_ops: Sequence[PostOp] = (),
    layer: str = "",
) -> Primitive:
    """SRC (..., M, K) times WEIGHTS (..., K, N) -> DST (..., M, N); leading dimensions of 1 are broadcast."""
    return Primitive(
        device,
        "matmul_primitive_desc_create",
        [src, weights, None, dst],
        [Arg.SRC, Arg.WEIGHTS],
        [Arg.DST],
        attributes=Attributes(post_ops),
        layer=layer,
    )
