"""Places: where blobs lie in the memory of a concatenation, so that it copies nothing.

A batch of one image in blocks of 8 or 16 channels has the channels of a concatenation's bottoms one after another. So
their layers write them where the concatenation has them. A concatenation of concatenations (DenseNet) is one memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, cast

from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.layouts import BLOCKED
from dragon.engines.onednn.library.memory import Memory
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.node import Node
    from dragon.layers.concat import Concat

__all__ = ["Place", "blocks", "find_places"]


def blocks(shape: Shape, block: int) -> MemoryDesc:
    """The layout of float32 data (N, C, H, W) in blocks of 8 or 16 channels."""
    return MemoryDesc.tagged(shape, DataType.f32, BLOCKED[block][4])


class Place:
    """Memory for a blob of one image, which begins at a channel of the memory of a larger one, if there is a larger."""

    def __init__(self, shape: Shape, block: int, whole: Place | None = None, channel: int = 0) -> None:
        self.shape, self.block = shape, block
        self._root: Place = self if whole is None else whole._root
        self._channel: int = channel if whole is None else whole._channel + channel
        self._memory: Memory | None = None

    @cached_property
    def desc(self) -> MemoryDesc:
        """The layout of the memory."""
        return blocks(self.shape, self.block)

    @property
    def start(self) -> int:
        """In bytes, in the memory of the largest one."""
        return self._channel * self.shape[2] * self.shape[3] * 4

    def memory(self, device: Device) -> Memory:
        """The memory; a view of the largest one's."""
        root = self._root
        if root._memory is None:
            root._memory = Memory(device, root.desc)
        return root._memory if root is self else root._memory.view(self.desc, self.start)

    def holds(self, memory: Memory) -> bool:
        """Whether a memory lies here."""
        whole = self._root._memory
        return memory.origin is whole and memory.start == self.start and memory.desc == self.desc


def find_places(nodes: Sequence[Node], block: int) -> dict[Storage, Place]:
    """The place of each top and bottom of a concatenation along the channels of one image, in blocks of channels."""
    places: dict[Storage, Place] = {}
    writers = Counter(
        storage for node in nodes if not node.layer.passes_memory for storage in {top.data_storage for top in node.tops}
    )
    shuffled = {node.bottoms[0].data_storage for node in nodes if node.layer.type == "ShuffleChannel"}
    for node in reversed(nodes):
        if node.layer.type != "Concat":
            continue
        top = node.tops[0].data_storage
        if len(node.bottoms) < 2 or top in shuffled or not _in_blocks(node, block):
            places.pop(top, None)  # its bottoms are joined in another way
            continue
        if top in places and writers[top] > 1:
            del places[top]  # what overwrites it would overwrite its bottoms, too
        whole = places.setdefault(top, Place(node.tops[0].shape, block))
        channel = 0
        for bottom in node.bottoms:
            places.setdefault(bottom.data_storage, Place(bottom.shape, block, whole, channel))
            channel += bottom.shape[1]
    return places


def _in_blocks(node: Node, block: int) -> bool:
    blobs = (*node.bottoms, *node.tops)
    return cast("Concat", node.layer).along == 1 and all(
        blob.ndim == 4 and blob.shape[0] == 1 and blob.shape[1] % block == 0 and blob.count for blob in blobs
    )
