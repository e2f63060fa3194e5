"""Permute and ShuffleChannel: one conversion between two orders of the same elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Arg
from dragon.engines.onednn.library.memory import Memory, MemoryDesc
from dragon.engines.onednn.lowerings import lowers
from dragon.engines.onednn.plan.builder import Backward, Builder, NotLoweredError
from dragon.graph.node import Node

if TYPE_CHECKING:
    from dragon.layers.permute import Permute
    from dragon.layers.shuffle_channel import ShuffleChannel

__all__ = ["permute", "shuffle_channel"]

_MOST_AXES = 6


@lowers("Permute")
def permute(b: Builder, node: Node) -> Backward | None:
    """Build Permute."""
    layer = cast("Permute", node.layer)
    return _rearranged(b, node, node.bottoms[0].shape, layer.order)


@lowers("ShuffleChannel")
def shuffle_channel(b: Builder, node: Node) -> Backward | None:
    """Build ShuffleChannel."""
    layer = cast("ShuffleChannel", node.layer)
    return _rearranged(b, node, layer.view, [0, 2, 1, 3])


def _rearranged(b: Builder, node: Node, view: Sequence[int], order: Sequence[int]) -> Backward:
    """The bottom, seen row-major as `view`, with its axes in another order, is the top."""
    bottom, top = node.bottoms[0], node.tops[0]
    if not 0 < len(view) <= _MOST_AXES or max(bottom.ndim, top.ndim) > _MOST_AXES:
        raise NotLoweredError("more axes than oneDNN knows here")
    name = node.name
    inverse = sorted(range(len(order)), key=order.__getitem__)
    moved = [view[axis] for axis in order]

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
    move(x, view, order, b.make(top, MemoryDesc.plain(top.shape, x.desc.dtype)))

    def backward() -> None:
        if node.propagate_down[0]:
            dy = b.diff(top, MemoryDesc.plain(top.shape, x.desc.dtype))
            move(dy, moved, inverse, b.make_diff(bottom, MemoryDesc.plain(bottom.shape, x.desc.dtype)))

    return backward
