"""In TEST: Concat, ShuffleChannel and Slice in a row (ShuffleNet v2) as one copy of each channel.

Channel c of the concatenation, the i-th of the j-th of g groups, becomes channel i g + j. So the channels that one
bottom has of one group, and one top takes, are neighbours in the bottom and lie g channels apart in the top: one copy,
row-major, since parts of the channels of other layouts are copied several times as slowly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, cast

import numpy as np

from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.lowerings.bounds import may_measure, pass_on
from dragon.engines.onednn.lowerings.folding import make_lazy
from dragon.engines.onednn.plan.builder import Builder, NotLoweredError

if TYPE_CHECKING:
    from dragon.graph.node import Node
    from dragon.layers.shuffle_channel import ShuffleChannel

__all__ = ["ShuffleChain", "copies", "shuffle"]

FLOAT = 4  # bytes


@dataclass(frozen=True)
class ShuffleChain:
    """A ShuffleChannel with the Concat before it and the Slice behind it, of which one may be missing."""

    concat: Node | None
    shuffle: Node
    slice: Node | None

    @property
    def nodes(self) -> list[Node]:
        """The layers in order."""
        return [node for node in (self.concat, self.shuffle, self.slice) if node is not None]


@dataclass(frozen=True)
class Copy:
    """`count` channels of a bottom from `first` on, to every `group`-th channel of a top from `place` on."""

    bottom: int
    top: int
    first: int
    place: int
    count: int


def copies(bottoms: Sequence[int], tops: Sequence[int], group: int) -> Iterator[Copy]:
    """What is copied. bottoms, tops: their channels."""
    length = sum(bottoms) // group
    for s, (begin, end) in enumerate(pairwise(accumulate(bottoms, initial=0))):
        for t, (low, high) in enumerate(pairwise(accumulate(tops, initial=0))):
            for j in range(group):
                first = max(begin - j * length, -(-(low - j) // group), 0)
                last = min(end - j * length, -(-(high - j) // group), length)
                if first < last:
                    yield Copy(s, t, j * length + first - begin, first * group + j - low, last - first)


def shuffle(b: Builder, chain: ShuffleChain) -> None:
    """Build the copies. In TEST there is no backward."""
    bottoms, tops = chain.nodes[0].bottoms, chain.nodes[-1].tops
    layer = cast("ShuffleChannel", chain.shuffle.layer)
    if b.ranges or any(blob.ndim != 4 or not blob.count or b.desc(blob).dtype != DataType.f32 for blob in bottoms):
        raise NotLoweredError("others than maps of float32")
    bounds = [b.value_of(bottom).bound for bottom in bottoms]
    sources = [b.data(bottom, MemoryDesc.plain(bottom.shape)) for bottom in bottoms]
    targets = [b.make(top, MemoryDesc.plain(top.shape)) for top in tops]
    for copy in copies([blob.shape[1] for blob in bottoms], [blob.shape[1] for blob in tops], layer.group):
        if tops[copy.top].shape[0] > 1 and copy.count * layer.group > tops[copy.top].shape[1]:
            raise NotLoweredError("strides that reach into the next image")
        source = _channels(sources[copy.bottom], copy.first, copy.count)
        target = _channels(targets[copy.top], copy.place, copy.count, layer.group)
        reorder = combine.reorder(b.device, source.desc, target.desc, layer=layer.name)
        b.call(reorder, {Arg.SRC: source, Arg.DST: target})
    for top in tops:
        pass_on(b, bounds, top, how=np.max)
        may_measure(b, top)
    make_lazy(b, [chain], {top.data_storage for top in tops})


def _channels(memory: Memory, first: int, count: int, step: int = 1) -> Memory:
    """Every `step`-th channel from `first` on."""
    images, _, *space = memory.desc.dims
    across, along, *strides = memory.desc.strides
    desc = MemoryDesc.plain((images, count, *space), strides=(across, along * step, *strides))
    return memory.view(desc, first * along * FLOAT)
