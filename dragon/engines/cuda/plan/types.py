"""Which of a net's blobs have 16 bits on the GPU, and which layers compute on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.lowerings.lowering import Lowering, find
from dragon.memory.blob import Blob
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.node import Node

__all__ = ["Types"]


class Types:
    """A blob has 16 bits if a layer with kernels for that touches it, and no layer needs it in float32.

    Float32 stay: what layers have learned, losses, labels, probabilities; what is copied as it is (sliced, say) into or
    out of these; blobs that only layers without such kernels touch. Layers whose blobs do not fit run in float32, on
    copies of their 16-bit blobs.
    """

    def __init__(self, net: Net, half: np.dtype[Any] | None) -> None:
        self.half = half
        self._kinds: dict[Storage, bool] = {}  # those of 16 bits; whether it is a diff
        self._layers = [False] * len(net.nodes)
        if half is not None:
            self._decide(net)

    def of(self, storage: Storage) -> np.dtype[Any]:
        """The type of a storage on the GPU."""
        return storage.dtype if self.half is None or storage not in self._kinds else self.half

    def is_16_bit(self, storage: Storage) -> bool:
        return storage in self._kinds

    def is_diff(self, storage: Storage) -> bool:
        """Whether a 16-bit storage holds gradients, which the loss scale multiplies."""
        return self._kinds[storage]

    def runs_in_16_bits(self, index: int) -> bool:
        """Whether layer `index` takes its blobs as they are; else in float32."""
        return self._layers[index]

    def _decide(self, net: Net) -> None:
        lowerings = [find(node) for node in net.nodes]
        classes = _Classes()
        wanted: set[Storage] = set()
        float32: set[Storage] = set()
        for node, lowering in zip(net.nodes, lowerings, strict=True):
            layer, blobs = node.layer, [*node.bottoms, *node.tops]
            for blob in blobs:
                classes.join(_storages(blob))
                if blob.dtype != np.float32:
                    float32 |= set(_storages(blob))
            for blob in layer.blobs:
                float32 |= set(_storages(blob))
            for top, weight in zip(node.tops, node.loss_weights, strict=False):
                if weight:
                    float32 |= set(_storages(top))
            if lowering is None or not lowering.half:
                continue
            if lowering.one_type:
                classes.join(storage for blob in blobs for storage in _storages(blob))
            for blob, is_float32 in _places(node, lowering):
                if is_float32:
                    float32 |= set(_storages(blob))
                elif not lowering.shares and not layer.is_source:
                    wanted |= set(_storages(blob))
        outside = {classes.of(storage) for storage in float32}
        inside = {classes.of(storage) for storage in wanted} - outside
        for blob in [blob for node in net.nodes for blob in (*node.bottoms, *node.tops)]:
            if classes.of(blob.data_storage) in inside:
                self._kinds[blob.data_storage], self._kinds[blob.diff_storage] = False, True
        for node, lowering in zip(net.nodes, lowerings, strict=True):
            if lowering is not None and lowering.half:
                self._layers[node.index] = any(not is_float32 for _, is_float32 in _places(node, lowering)) and all(
                    (blob.data_storage in self._kinds) != is_float32 for blob, is_float32 in _places(node, lowering)
                )


def _storages(blob: Blob) -> tuple[Storage, Storage]:
    return blob.data_storage, blob.diff_storage


def _places(node: Node, lowering: type[Lowering]) -> Iterator[tuple[Blob, bool]]:
    """A layer's bottoms and tops, and whether its kernels have them in float32 always."""
    for blobs, float32 in ((node.bottoms, lowering.float32_bottoms), (node.tops, lowering.float32_tops)):
        for j, blob in enumerate(blobs):
            yield blob, j in float32


class _Classes:
    """Storages that have the same type whichever it is."""

    def __init__(self) -> None:
        self._parent: dict[Storage, Storage] = {}

    def of(self, storage: Storage) -> Storage:
        """The one that stands for its class."""
        while (parent := self._parent.setdefault(storage, storage)) is not storage:
            storage = parent
        return storage

    def join(self, storages: Iterable[Storage]) -> None:
        first: Storage | None = None
        for storage in storages:
            if first is None:
                first = self.of(storage)
            else:
                self._parent[self.of(storage)] = first
