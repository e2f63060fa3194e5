"""Blobs that are never alive together share memory in TEST.

What layers make lies in one arena while the whole net runs forward. A blob that was overwritten is computed again when
somebody reads it, from what the run was made of, and has memory of its own from then on. A run of a part of the net,
a look between layers or a backward ends the sharing: each blob gets its value and its own memory, for good.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dragon.bases.layer import TEST
from dragon.engines.arena import place
from dragon.engines.base import is_watched
from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.plan.lifetimes import Traffic
from dragon.errors import EngineError
from dragon.memory.storage import HOST, Storage

if TYPE_CHECKING:
    from dragon.engines.cuda.executor import CudaExecutor
    from dragon.graph.net import Net

__all__ = ["Sharing"]


class Sharing:
    def __init__(self, executor: CudaExecutor) -> None:
        self._executor = executor
        self._me: weakref.ref[Sharing] = weakref.ref(self)
        self._key: tuple[Any, ...] = ()
        self._traffic: Traffic | None = None  # while blobs share
        self._apart: set[Storage] = set()  # read by somebody, hence with memory of their own
        self._present: frozenset[Storage] = frozenset()  # hold their value
        self._survivors: frozenset[Storage] = frozenset()
        self._sources: set[Storage] = set()
        self._then: dict[Storage, Any] = {}  # arrays of sources that have changed since the run
        self._shapes: list[tuple[int, ...]] = []
        self._draws: list[int] = []  # of each layer, before the run
        self._running = self._ran = False
        self._settled = -1  # version of the net after the last whole run
        self.given_up = False
        self.size = 0  # bytes of the arena
        self.apart_size = 0  # bytes of the same blobs with memory of their own

    # -- a run ------------------------------------------------------------------------------------------------
    @contextmanager
    def forward(self, start: int, end: int) -> Iterator[None]:
        """While layers start..end run forward."""
        if not self._serves(start, end):
            self.leave()
            yield
            self._settled = self._executor.net.context.where.version
            return
        self._enter()
        self._begin()
        complete = False
        try:
            yield
            complete = True
        finally:
            self._end(complete)

    def _serves(self, start: int, end: int) -> bool:
        executor = self._executor
        net = executor.net
        if self.given_up or net.phase != TEST or is_watched(net):
            return False
        if start != 0 or end != len(net.layers) - 1:
            return False
        if executor.is_outdated:
            executor.settle(start, end)
        # layers on the host may give their tops other shapes each time, in the middle of a run
        steady = all(g.lowering is not None or not g.on_host or net.layers[g.first].is_source
                     for g in executor.plan.groups)  # fmt: skip
        return steady or self._settled == net.context.where.version

    def _enter(self) -> None:
        """Give the blobs their place in the arena, if it is not the one they have."""
        executor = self._executor
        groups = executor.division.groups(executor.plan, 0, len(executor.net.layers) - 1, "forward")
        key = (*((g.first, g.last, g.on_host) for g in groups), executor.net.context.where.version, len(self._apart))
        if self._key == key and self._traffic is not None:
            return
        traffic = Traffic(executor.net, groups, executor.arrays.types)
        self._apart = {s for s in traffic.shared if s in self._apart or s.held}
        spans = traffic.in_arena(self._apart)
        offsets, self.size = place(list(spans.values()))
        self.apart_size = sum(one.padded for one in spans.values())
        copies = {s: self._copy(s) for s in traffic.shared}
        for storage in spans:
            copies[storage].array = None
        executor.forget_graphs()
        arena = self._allocate(traffic, spans)
        for storage, offset in zip(spans, offsets, strict=True):
            dtype = executor.arrays.types.of(storage)
            size = storage.count * dtype.itemsize
            copies[storage].array = arena[offset : offset + size].view(dtype)
        for storage in traffic.shared - set(spans):
            if copies[storage].array is None or copies[storage].shares:
                copies[storage].array = executor.gpu.empty(storage.count, executor.arrays.types.of(storage))
        for storage, copy in copies.items():
            copy.shares = storage in spans
        ends = list(zip(spans.items(), offsets, strict=True))
        covered = {
            s
            for (s, one), a in ends
            if any(other.start > one.end and a < b + other.padded and b < a + one.padded for (_, other), b in ends)
        }
        self._survivors = traffic.shared - covered
        self._traffic, self._key, self._sources = traffic, key, traffic.sources()
        self._keep_for_backward(False)

    def _keep_for_backward(self, keep: bool) -> None:
        """Whether lowerings keep in forward what only backward needs; those that cannot run again always do."""
        assert self._traffic is not None
        needs = self._executor.net.layer_need_backward
        for group in [self._traffic.groups[step] for step in self._traffic.repeatable]:
            if group.lowering is not None:
                group.lowering.learns = keep and any(needs[group.first : group.last + 1])

    def _allocate(self, traffic: Traffic, spans: dict[Storage, Any]) -> Any:
        gpu = self._executor.gpu
        gpu.cupy.get_default_memory_pool().free_all_blocks()  # what it keeps for later
        try:
            return gpu.empty(self.size, "uint8")
        except MemoryError as error:
            self._traffic, self._key = None, ()
            for storage in spans:
                storage.wrote(HOST)
                storage.detach(gpu.place)
            first = traffic.groups[traffic.most_at(spans.values())].first
            raise self._executor.runner.out_of_memory(self._executor.net.layers[first].where, error) from None

    def _copy(self, storage: Storage) -> DeviceCopy:
        """The copy of a storage whose value nobody needs any more."""
        gpu = self._executor.gpu
        copy = storage.copy_at(gpu.place)
        if not isinstance(copy, DeviceCopy):
            copy = DeviceCopy(gpu, None)
            storage.attach(gpu.place, copy)
        copy.restore = _restoring(self._me, weakref.ref(storage))
        copy.drop_feed()
        return copy

    def _begin(self) -> None:
        assert self._traffic is not None
        self._running, self._ran = True, False
        self._then.clear()
        self._shapes = _shapes(self._executor.net)
        self._draws = [layer.rng.draws for layer in self._executor.net.layers]
        for storage in self._traffic.shared:
            storage.tell()
            storage.wrote(self._executor.gpu.place)  # will be, before anybody reads it

    def _end(self, complete: bool) -> None:
        self._running = False
        if self._traffic is None:
            return
        self._ran = True
        self._present = self._survivors if complete else frozenset()
        for storage in self._sources:
            if storage.held:
                self.about_to_change(storage)
            else:
                storage.watch(self._me)

    def about_to_change(self, storage: Storage) -> None:
        """A source still has the value of the run: keep it."""
        if self._ran and storage in self._sources and storage not in self._then and not self.given_up:
            with self._executor.gpu.active():
                self._then[storage] = self._executor.arrays.of(storage).copy()

    # -- values that were overwritten -------------------------------------------------------------------------
    def restore(self, storage: Storage) -> None:
        """Make a storage that is read hold the value that the run gave it."""
        executor, traffic = self._executor, self._traffic
        if self._running or not self._ran or traffic is None or storage in self._present:
            return
        if executor.is_outdated:
            if self._shapes != _shapes(executor.net):
                return  # memory is about to grow: there is no more value that would be right
            raise EngineError(
                "a blob was read that shared its memory, after parameters were exchanged: run the net again, or "
                "read it before"
            )
        with executor.gpu.active():
            copy = self._copy(storage)
            if storage not in self._apart:
                copy.array, copy.shares = executor.gpu.empty(storage.count, executor.arrays.types.of(storage)), False
                self._apart.add(storage)
            self._again(traffic.leading_to(storage))
        self._present = frozenset(self._apart | traffic.outputs) & (self._present | {storage})

    def _again(self, steps: Sequence[int]) -> None:
        """Run groups once more on what they read in the run; all values that are elsewhere stay as they are."""
        executor, traffic = self._executor, self._traffic
        assert traffic is not None
        net, gpu = executor.net, executor.gpu
        groups = [traffic.groups[step] for step in steps]
        layers = [net.layers[i] for g in groups for i in range(g.first, g.last + 1)]
        statistics = {layer.blobs[j].data_storage for layer in layers for j in layer.buffers if j < len(layer.blobs)}
        kept = [(s, executor.arrays.of(s).copy(), s.is_fresh(HOST)) for s in statistics]
        draws = [layer.rng.draws for layer in net.layers]
        on_host = [s for s in traffic.shared if s.is_fresh(HOST)]
        self._running = True
        try:
            with self._sources_of_then():
                for storage in traffic.shared:
                    storage.wrote(gpu.place)
                for layer, number in zip(net.layers, self._draws, strict=True):
                    layer.rng.draws = number
                for group in groups:
                    executor.runner.forward(group, reshape=False)
        finally:
            self._running = False
            for layer, number in zip(net.layers, draws, strict=True):
                layer.rng.draws = number
            for storage in on_host:
                storage.wrote(HOST)
            for storage, array, was_host in kept:
                executor.arrays.of(storage)[...] = array
                storage.wrote(HOST if was_host else gpu.place)

    @contextmanager
    def _sources_of_then(self) -> Iterator[None]:
        gpu = self._executor.gpu
        lent: list[tuple[Storage, DeviceCopy, Any, bool]] = []
        for storage, array in self._then.items():
            copy = storage.copy_at(gpu.place)
            if isinstance(copy, DeviceCopy) and copy.array.size == array.size:
                lent.append((storage, copy, copy.array, storage.is_fresh(HOST)))
                copy.array = array
                storage.wrote(gpu.place)
        try:
            yield
        finally:
            for storage, copy, array, was_host in lent:
                copy.array = array
                storage.wrote(HOST if was_host else gpu.place)

    # -- the end ------------------------------------------------------------------------------------------------
    def leave(self) -> None:
        """Give each blob memory of its own and the value that the run gave it, and lowerings what backward needs."""
        executor, traffic = self._executor, self._traffic
        if traffic is None:
            return
        self._separate(traffic.shared)
        self._keep_for_backward(True)
        if self._ran and not executor.is_outdated:
            self._again(traffic.repeatable)
        self._forget()

    def changed(self) -> None:
        """The net has other shapes. In the middle of a run, what is in use goes on in memory of its own."""
        if self._running and self._traffic is not None:
            self._separate(self._traffic.shared)
            self._forget()

    def remarks(self) -> list[str]:
        """What sharing saves."""
        if self._traffic is None:
            return []
        return [
            f"Blobs that share memory take {self.size / 2**20:,.1f} MiB of the GPU, "
            f"apart they would take {self.apart_size / 2**20:,.1f} MiB"
        ]

    def _separate(self, storages: Iterable[Storage]) -> None:
        gpu = self._executor.gpu
        self._executor.forget_graphs()
        for storage in storages:
            copy = storage.copy_at(gpu.place)
            if isinstance(copy, DeviceCopy) and copy.shares:
                copy.array, copy.shares = copy.array.copy(), False

    def _forget(self) -> None:
        if self._traffic is not None:
            for storage in self._traffic.shared:
                copy = storage.copy_at(self._executor.gpu.place)
                if isinstance(copy, DeviceCopy):
                    copy.restore = None
        self._traffic, self._key, self.given_up = None, (), True
        self._then.clear()
        self._sources.clear()
        self.size = self.apart_size = 0


def _shapes(net: Net) -> list[tuple[int, ...]]:
    return [blob.shape for blob in net.blobs.values()]


def _restoring(sharing: weakref.ref[Sharing], storage: weakref.ref[Storage]) -> Any:
    def restore() -> None:
        alive, wanted = sharing(), storage()
        if alive is not None and wanted is not None:
            alive.restore(wanted)

    return restore
