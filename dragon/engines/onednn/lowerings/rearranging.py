"""Permute, Reorg, ShuffleChannel and Transpose: one conversion between two orders of the same elements."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.lowerings.bounds import pass_on
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node

if TYPE_CHECKING:
    from dragon.bases.rearranging import Rearranging
    from dragon.memory.blob import Blob

__all__ = ["rearranging"]

_MOST_AXES = 6


@lowers("Permute", "Reorg", "ShuffleChannel", "Transpose")
def rearranging(b: Builder, node: Node) -> Backward | None:
    """Build a layer whose top is the bottom, seen row-major as `view`, with its axes in another order."""
    layer = cast("Rearranging", node.layer)
    view, order = layer.view, layer.order
    bottom, top = node.bottoms[0], node.tops[0]
    if not 0 < len(view) <= _MOST_AXES or max(bottom.ndim, top.ndim) > _MOST_AXES:
        raise NotLoweredError("more axes than oneDNN knows here")
    name = node.name
    if layer.type == "ShuffleChannel" and not b.training and b.desc(bottom).is_channels_last:
        _shuffle_last(b, bottom, top, view[1], name)
        return None

    def move(source: Memory, shape: Sequence[int], to: Sequence[int], target: Memory) -> None:
        plain = MemoryDesc.plain(tuple(shape), source.desc.dtype)
        strides = plain.strides
        dims = tuple(shape[axis] for axis in to)
        seen = MemoryDesc.plain(dims, source.desc.dtype, tuple(strides[axis] for axis in to))
        written = MemoryDesc.plain(dims, target.desc.dtype)
        b.call(
            combine.reorder(b.device, seen, written, layer=name),
            {Arg.SRC: source.view(seen), Arg.DST: target.view(written)},
        )

    x = b.data(bottom, MemoryDesc.plain(bottom.shape, b.desc(bottom).dtype))
    bound = b.value_of(bottom).bound
    move(x, view, order, b.make(top, MemoryDesc.plain(top.shape, x.desc.dtype)))
    if b.ahead:
        pass_on(b, [bound], top)

    def backward() -> None:
        if node.propagate_down[0]:
            dy = b.diff(top, MemoryDesc.plain(top.shape, x.desc.dtype))
            move(dy, layer.moved, layer.inverse, b.make_diff(bottom, MemoryDesc.plain(bottom.shape, x.desc.dtype)))

    return backward


def _shuffle_last(b: Builder, bottom: Blob, top: Blob, groups: int, name: str) -> None:
    """Transpose the channels between groups where they are the innermost axis, which takes a fifth of the time."""
    images, channels = bottom.shape[:2]
    pixels = prod(bottom.shape[2:])
    x, bound = b.data(bottom), b.value_of(bottom).bound
    dims = (images, channels // groups, groups, pixels)
    seen, written = (
        MemoryDesc.plain(dims, x.desc.dtype, (channels * pixels, *strides, channels))
        for strides in ((1, channels // groups), (groups, 1))
    )
    y = b.make(top, x.desc)
    b.call(combine.reorder(b.device, seen, written, layer=name), {Arg.SRC: x.view(seen), Arg.DST: y.view(written)})
    pass_on(b, [bound], top)
