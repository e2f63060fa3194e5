"""Blobs that a plan leaves no value of: they are computed again when somebody reads one.

A fused group skips the blobs between its layers, which are computed by running the layers one by one. A sum in place
overwrites the blob that it adds, which the arena computes by the plan's own steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.lifetimes.sources import Sources
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.values import HostValue, LazyCopy, Value
from dragon.engines.onednn.plan.versions import Versions
from dragon.memory.blob import Blob
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.node import Node

__all__ = ["Materialize", "Recomputed"]

Materialize = Callable[[int, int, Storage, Mapping[Storage, Array]], None]


class Recomputed(Versions):
    """The versions of a plan, and how blobs are computed that it has no value of after a pass.

    ahead: whether what parameters and inputs alone decide is computed before a pass begins: in whole plans of TEST,
    where no layer in Python can change a parameter meanwhile. sums_in_place: whether a sum may overwrite what it adds.
    last_write: by storage, the last layer that writes into it. sources: host values that the plan reads.
    """

    def __init__(
        self, net: Net, device: Device, training: bool, cache: bool, materialize: Materialize, sums_in_place: bool
    ) -> None:
        super().__init__(device, training, cache)
        self.net = net
        self.runs_user_code = any(node.layer.runs_user_code for node in net.nodes)
        self.ahead = cache and not training and not self.runs_user_code
        self.sums_in_place = sums_in_place and self.ahead
        self.last_write = {
            top.data_storage: node.index for node in net.nodes if not node.layer.passes_memory for top in node.tops
        }
        self.sources: Sources[Array] = Sources(_copied, reuse=True, follow=True)
        self._last_read = {bottom.data_storage: node.index for node in net.nodes for bottom in node.bottoms}
        self._outputs = {net.blobs[name].data_storage for name in net.outputs}
        self._live = _live_counts(net.nodes, self._last_read)
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
        read = list(self.steps.needs.values())
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
            if newest is not None and not isinstance(newest, LazyCopy):
                newest.to_host(host)

        self.make_lazy(storage, compute)

    def _value_in_run(self, storage: Storage) -> Array:
        """The flat host value that the last run read."""
        saved = self.sources.changed.get(storage)
        return storage.read() if saved is None else saved

    def replaceable(self, blob: Blob) -> Memory | None:
        """The memory of a blob that the present group may overwrite with its top; None if it may not.

        No later layer uses the blob, and an arena can compute it again.
        """
        storage = blob.data_storage
        memory = self._owned(storage, blob)
        if not self.sums_in_place or memory is None or memory.origin is not memory or memory.exposed:
            return None
        if storage in self._outputs or max(self._last_read[storage], self.last_write.get(storage, 0)) > self.last:
            return None
        if id(memory) in self._protected or any(memory is source for source in self._lazy_sources()):
            return None
        return memory

    def is_cut(self) -> bool:
        """Whether the layers behind the present group read one of the values before them only; inputs do not count."""
        return self._live[self.last] == 1

    def _lazy_sources(self) -> Iterator[Memory]:
        for storage, place in self.lazies:
            copy = storage.copy_at(place)
            if isinstance(copy, LazyCopy):
                yield from copy.sources

    def replace(self, blob: Blob, step: int = -1) -> None:
        """Note that the last step overwrites the memory of a `replaceable` blob, which it reads.

        step: the index of the first of the group's steps that does, where there are several.
        """
        value = self._now.pop(id(blob.data_storage))
        call = self.steps.calls[step]
        assert isinstance(value, Value)
        assert isinstance(call, Call)
        self._need(value)
        value.overwritten_by = call


def _live_counts(nodes: Sequence[Node], last_read: Mapping[Storage, int]) -> list[int]:
    """Behind each layer: how many of the values that layers have made by then are read by later ones."""
    made = {top.data_storage: node.index for node in reversed(nodes) if node.bottoms for top in node.tops}  # first
    changes = [0] * len(nodes)
    for storage, begin in made.items():
        if last_read.get(storage, -1) > begin:
            changes[begin] += 1
            changes[last_read[storage]] -= 1
    return list(accumulate(changes))


def _copied(storage: Storage, old: Array | None) -> Array:
    """A copy of the flat host value, in the memory of `old` where that fits."""
    value = storage.read()
    copy = old if old is not None and old.size == value.size else np.empty_like(value)
    copy[...] = value
    return copy
