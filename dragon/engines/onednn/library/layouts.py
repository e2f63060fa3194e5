"""The common layouts of (N, C, spatial...): row-major, channels-last, and in blocks of channels."""

from __future__ import annotations

from math import prod

from dragon.engines.onednn.library.constants import DataType, Tag
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape

__all__ = ["BLOCKED", "block_of", "like", "same_bytes"]

BLOCKED = {  # layouts in blocks of channels: by the size of a block, then by the number of axes
    16: {3: Tag.aBc16b, 4: Tag.aBcd16b, 5: Tag.aBcde16b},
    8: {4: Tag.aBcd8b},
}


def block_of(desc: MemoryDesc) -> int:
    """The channels of a block where a layout is blocked by channels, 0 for other layouts."""
    for block, tags in BLOCKED.items():
        tag = tags.get(len(desc.dims))
        if tag is not None and desc == MemoryDesc.tagged(desc.dims, desc.dtype, tag):
            return block
    return 0


def same_bytes(one: MemoryDesc, other: MemoryDesc) -> bool:
    """Whether a tensor of maps of one pixel has the same bytes in both layouts. False for other tensors.

    It has in all common layouts, but in blocks only where the channels fill them.
    """
    if (one.dims, one.dtype) != (other.dims, other.dtype) or len(one.dims) < 3 or prod(one.dims[2:]) != 1:
        return False
    return all(
        desc.is_row_major or desc.is_channels_last or (block_of(desc) and desc.dims[1] % block_of(desc) == 0)
        for desc in (one, other)
    )


def like(desc: MemoryDesc, shape: Shape, dtype: DataType | None = None) -> MemoryDesc:
    """The layout of `desc` for another shape, if it is a common one; row-major otherwise."""
    dtype = desc.dtype if dtype is None else dtype
    block = block_of(desc)
    if block:
        return MemoryDesc.tagged(shape, dtype, BLOCKED[block][len(shape)])
    if len(shape) > 2 and desc.is_channels_last:
        return MemoryDesc.channels_last(shape, dtype)
    return MemoryDesc.plain(shape, dtype)
