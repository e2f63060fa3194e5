"""Types: which of a net's blobs are 16-bit on the GPU, and which layers compute on them."""

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

__all__ = ["Classes", "Types", "storages"]


class Types:
    """The types of a net's blobs. half: the 16-bit type, or None.

    A blob is 16-bit if a layer with kernels for that uses it, and no layer needs it in float32. Float32 stay:
    parameters, losses, labels and probabilities; blobs that are copied (sliced, say) into or out of these; blobs that
    only layers without such kernels use. Layers whose blobs do not fit run in float32, on copies of 16-bit blobs.
    """

    def __init__(self, net: Net, half: np.dtype[Any] | None) -> None:
        self.half = half
        self._kinds: dict[Storage, bool] = {}  # the 16-bit ones; whether it is a diff
        self._layers = [False] * len(net.nodes)
        if half is not None:
            self._decide(net)

    def of(self, storage: Storage) -> np.dtype[Any]:
        """The type of a storage on the GPU."""
        return storage.dtype if self.half is None or storage not in self._kinds else self.half

    def is_16_bit(self, storage: Storage) -> bool:
        """Whether a storage is 16-bit on the GPU."""
        return storage in self._kinds

    def is_diff(self, storage: Storage) -> bool:
        """Whether a 16-bit storage holds gradients, which the loss scale multiplies."""
        return self._kinds[storage]

    def runs_in_16_bits(self, index: int) -> bool:
        """Whether layer `index` computes on 16-bit blobs; else on float32 ones, or on float32 copies."""
        return self._layers[index]

    def _decide(self, net: Net) -> None:
        lowerings = [find(node) for node in net.nodes]
        classes = Classes()
        wanted: set[Storage] = set()
        float32: set[Storage] = set()
        for node, lowering in zip(net.nodes, lowerings, strict=True):
            layer, blobs = node.layer, [*node.bottoms, *node.tops]
            for blob in blobs:
                classes.join(storages(blob))
                if blob.dtype != np.float32:
                    float32 |= set(storages(blob))
            for blob in layer.blobs:
                float32 |= set(storages(blob))
            for top, weight in zip(node.tops, node.loss_weights, strict=False):
                if weight:
                    float32 |= set(storages(top))
            if lowering is None or not lowering.half:
                continue
            if lowering.one_type:
                classes.join(storage for blob in blobs for storage in storages(blob))
            for blob, is_float32 in _places(node, lowering):
                if is_float32:
                    float32 |= set(storages(blob))
                elif not lowering.shares and not layer.is_source:
                    wanted |= set(storages(blob))
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


def storages(blob: Blob) -> tuple[Storage, Storage]:
    """Those of a blob's data and its gradient."""
    return blob.data_storage, blob.diff_storage


def _places(node: Node, lowering: type[Lowering]) -> Iterator[tuple[Blob, bool]]:
    """A layer's bottoms and tops, and whether its kernels always take them in float32."""
    for blobs, float32 in ((node.bottoms, lowering.float32_bottoms), (node.tops, lowering.float32_tops)):
        for j, blob in enumerate(blobs):
            yield blob, j in float32


class Classes:
    """Classes of storages that must have one type."""

    def __init__(self) -> None:
        self._parent: dict[Storage, Storage] = {}

    def of(self, storage: Storage) -> Storage:
        """The representative of a storage's class."""
        while (parent := self._parent.setdefault(storage, storage)) is not storage:
            storage = parent
        return storage

    def join(self, members: Iterable[Storage]) -> None:
        """Put storages into one class."""
        first: Storage | None = None
        for storage in members:
            if first is None:
                first = self.of(storage)
            else:
                self._parent[self.of(storage)] = first
