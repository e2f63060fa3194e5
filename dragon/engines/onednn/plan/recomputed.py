"""Blobs that a plan leaves no value of: they are computed again when somebody reads one.

A fused group skips the blobs between its layers, and a sum in place overwrites the blob that it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.lifetimes.sources import Sources
from dragon.engines.onednn.library.memory import Device, Memory
from dragon.engines.onednn.plan.values import HostValue, LazyCopy, MemoryCopy, Value
from dragon.engines.onednn.plan.versions import Versions
from dragon.memory.blob import Blob
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Materialize", "Recomputed"]

Materialize = Callable[[int, int, Storage, Mapping[Storage, Array]], None]


class Recomputed(Versions):
    """The versions of a plan, and how blobs are computed that it has no value of after a pass.

    ahead: whether what parameters and inputs alone decide is computed before a pass begins: in whole plans of TEST,
    where no layer in Python can change a parameter meanwhile. last_write: by storage, the last layer that writes into
    it. sources: host values that the plan reads.
    """

    def __init__(self, net: Net, device: Device, training: bool, cache: bool, materialize: Materialize) -> None:
        super().__init__(device, training, cache)
        self.net = net
        self.runs_user_code = any(node.layer.runs_user_code for node in net.nodes)
        self.ahead = cache and not training and not self.runs_user_code
        self.last_write = {
            top.data_storage: node.index for node in net.nodes if not node.layer.passes_memory for top in node.tops
        }
        self.sources: Sources[Array] = Sources(_copied, reuse=True, follow=True)
        self._last_read = {bottom.data_storage: node.index for node in net.nodes for bottom in node.bottoms}
        self._outputs = {net.blobs[name].data_storage for name in net.outputs}
        self._materialize = materialize

    def make_lazy(self, storage: Storage, compute: Callable[[Array], None], *sources: Memory) -> None:
        """Let the storage's content be computed when it is read, by `compute(flat host array)`.

        sources: the memories that `compute` reads.
        """
        place = f"{self.name}.lazy{len(self.lazies)}"
        storage.attach(place, LazyCopy(compute, sources))
        self.lazies.append((storage, place))
        self._alive.append(storage)
        self.steps.lazy.append((storage, place))
        self._now.pop(id(storage), None)  # a later layer of this plan that reads it gets it on the host

    def make_lazy_by_layers(self, storage: Storage, first: int, last: int) -> None:
        """As `make_lazy`, for the content that `storage` has after layers first..last have run one by one.

        To be called when the group of these layers is built: by then it has recorded what they read.
        """
        self.make_lazy(storage, self._by_layers(storage, first, last, list(self.steps.needs.values())))

    def _by_layers(
        self, storage: Storage, first: int, last: int, read: Sequence[Value | HostValue]
    ) -> Callable[[Array], None]:
        """A function that computes the content of `storage` by layers first..last, which read these values."""
        blobs = [(blob, blob.data_storage) for node in self.net.nodes[first : last + 1] for blob in node.layer.blobs]
        self.sources.add(storage for _, storage in blobs)
        self.sources.add(value.storage for value in read if isinstance(value, HostValue))

        def compute(host: Array) -> None:
            values = {}  # of the run
            for value in read:
                if isinstance(value, Value):
                    values[value.storage] = np.empty(value.copy.count, value.storage.dtype)
                    value.copy.to_host(values[value.storage])
                else:
                    values[value.storage] = self._value_in_run(value.storage)
            for blob, storage_in_run in blobs:  # the blob may have another storage by now
                values[blob.data_storage] = self._value_in_run(storage_in_run)
            self._materialize(first, last, storage, values)
            newest = storage.newest_copy()
            recomputes = isinstance(newest, LazyCopy) or (isinstance(newest, MemoryCopy) and newest.recompute)
            if newest is not None and not recomputes:  # shapes are those of the run
                newest.to_host(host)

        return compute

    def _value_in_run(self, storage: Storage) -> Array:
        """The flat host value that the last run read."""
        saved = self.sources.changed.get(storage)
        return storage.read() if saved is None else saved

    def replaceable(self, blob: Blob, last: int) -> Memory | None:
        """The memory of a blob that layer `last`, of the present group, may overwrite with its top; None if it may not.

        No later layer reads the blob, and `replace` can have its content computed again.
        """
        storage = blob.data_storage
        memory, made = self._owned(storage, blob), self._made.get(storage)
        if not self.ahead or memory is None or made is None or storage in self._outputs:
            return None
        _, end, steps = made
        if self._last_read[storage] > last or self.last_write[storage] > end:
            return None
        if memory.origin is not memory or memory.exposed or id(memory) in self._protected:
            return None
        if any(memory is source for source in self._lazy_sources()):
            return None
        read = [value.storage for value in steps.needs.values()]
        return None if storage in read or any(self.last_write.get(each, 0) > end for each in read) else memory

    def _lazy_sources(self) -> Iterator[Memory]:
        for storage, place in self.lazies:
            copy = storage.copy_at(place)
            if isinstance(copy, LazyCopy):
                yield from copy.sources

    def replace(self, blob: Blob) -> None:
        """Have the content of a `replaceable` blob computed again when it is read, since its memory is overwritten."""
        storage = blob.data_storage
        value = self._now[id(storage)]
        assert isinstance(value, Value)
        first, last, steps = self._made[storage]
        value.copy.recompute = self._by_layers(storage, first, last, list(steps.needs.values()))
        del self._now[id(storage)]


def _copied(storage: Storage, old: Array | None) -> Array:
    """A copy of the flat host value, in the memory of `old` where that fits."""
    value = storage.read()
    copy = old if old is not None and old.size == value.size else np.empty_like(value)
    copy[...] = value
    return copy
