"""Blobs that are never in use at the same time share memory in TEST.

What layers make lies in one arena while the whole net runs forward. A blob that was overwritten is recomputed when
somebody reads it, from the values that the run read, and has memory of its own from then on. A run of a part of the
net, a hook between layers or a backward ends the sharing: each blob gets its value and its own memory, for good.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dragon.bases.layer import TEST
from dragon.engines.base import is_watched
from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.device.device import Gpu
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.division import Division
from dragon.engines.cuda.plan.lifetimes import BlobLifetimes
from dragon.engines.cuda.plan.memory import out_of_memory
from dragon.engines.cuda.plan.plans import Plans
from dragon.engines.cuda.plan.running import GroupRunner
from dragon.engines.lifetimes.placing import Placement
from dragon.engines.lifetimes.sources import Sources
from dragon.errors import EngineError
from dragon.memory.storage import HOST, Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Sharing"]


class Sharing:
    """The arena of a net's blobs in TEST, and how they leave it. forget_graphs: called when arrays have moved."""

    def __init__(
        self, net: Net, gpu: Gpu, arrays: Arrays, plans: Plans, division: Division, runner: GroupRunner,
        forget_graphs: Callable[[], None],
    ) -> None:  # fmt: skip
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._plans = plans
        self._division = division
        self._runner = runner
        self._forget_graphs = forget_graphs
        self._me: weakref.ref[Sharing] = weakref.ref(self)
        self._key: tuple[Any, ...] = ()
        self._lifetimes: BlobLifetimes | None = None  # while blobs share
        self._apart: set[Storage] = set()  # read by somebody, hence with memory of their own
        self._present: frozenset[Storage] = frozenset()  # hold their value
        self._survivors: frozenset[Storage] = frozenset()
        self._sources: Sources[Any] = Sources(self._copy_of_value, reuse=False)
        self._shapes: list[tuple[int, ...]] = []
        self._draws: list[int] = []  # of each layer, before the run
        self._running = False
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
            self._settled = self._net.context.space.version
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
        net = self._net
        if self.given_up or net.phase != TEST or is_watched(net):
            return False
        if start != 0 or end != len(net.nodes) - 1:
            return False
        if self._plans.is_outdated:
            self._plans.settle(start, end)
        # layers on the host may give their tops other shapes each time, in the middle of a run
        steady = all(g.lowering is not None or not g.on_host or g.layer.is_source
                     for g in self._plans.current.groups)  # fmt: skip
        return steady or self._settled == net.context.space.version

    def _enter(self) -> None:
        """Give the blobs their place in the arena, if it is not the one they have."""
        groups = self._division.groups(self._plans.current, 0, len(self._net.nodes) - 1, "forward")
        key = (*((g.first, g.last, g.on_host) for g in groups), self._net.context.space.version, len(self._apart))
        if self._key == key and self._lifetimes is not None:
            return
        lifetimes = BlobLifetimes(self._net, groups, self._arrays.types)
        shared = lifetimes.recomputable
        self._apart = {s for s in shared if s in self._apart or s.held}
        placement = Placement(lifetimes.in_arena(self._apart))
        self.size, self.apart_size = placement.size, placement.unshared
        copies = {s: self._copy(s) for s in shared}
        for storage in placement.offsets:
            copies[storage].array = None
        self._forget_graphs()
        arena = self._allocate(lifetimes, placement)
        for storage, offset in placement.offsets.items():
            dtype = self._arrays.types.of(storage)
            size = storage.count * dtype.itemsize
            copies[storage].array = arena[offset : offset + size].view(dtype)
        for storage in shared - placement.offsets.keys():
            if copies[storage].array is None or copies[storage].shares:
                copies[storage].array = self._gpu.empty(storage.count, self._arrays.types.of(storage))
        for storage, copy in copies.items():
            copy.shares = storage in placement.offsets
        self._survivors = placement.survivors | (shared - placement.offsets.keys())
        self._lifetimes, self._key = lifetimes, key
        self._sources.clear()
        self._sources.add(lifetimes.sources)
        self._keep_for_backward(False)

    def _keep_for_backward(self, keep: bool) -> None:
        """Whether lowerings keep in forward what only backward needs; those that cannot run again always do."""
        assert self._lifetimes is not None
        for group in [self._lifetimes.groups[step] for step in self._lifetimes.repeatable]:
            if group.lowering is not None:
                group.lowering.learns = keep and group.need_backward

    def _allocate(self, lifetimes: BlobLifetimes, placement: Placement[Storage]) -> Any:
        gpu = self._gpu
        gpu.cupy.get_default_memory_pool().free_all_blocks()  # what it keeps for later
        try:
            return gpu.empty(self.size, "uint8")
        except MemoryError as error:
            self._lifetimes, self._key = None, ()
            for storage in placement.offsets:
                storage.wrote(HOST)
                storage.detach(gpu.place)
            first = lifetimes.groups[lifetimes.most_at(placement.lifetimes.values())].first
            raise out_of_memory(gpu, self._net.nodes[first].layer.where, error) from None

    def _copy(self, storage: Storage) -> DeviceCopy:
        """The copy of a storage whose value nobody needs any more."""
        gpu = self._gpu
        copy = storage.copy_at(gpu.place)
        if not isinstance(copy, DeviceCopy):
            copy = DeviceCopy(gpu, None)
            storage.attach(gpu.place, copy)
        copy.restore = _restoring(self._me, weakref.ref(storage))
        copy.drop_feed()
        return copy

    def _begin(self) -> None:
        assert self._lifetimes is not None
        self._running = True
        self._sources.begin()
        self._shapes = _shapes(self._net)
        self._draws = [node.layer.rng.draws for node in self._net.nodes]
        for storage in self._lifetimes.recomputable:
            storage.notify_watchers()
            storage.wrote(self._gpu.place)  # will be, before anybody reads it

    def _end(self, complete: bool) -> None:
        self._running = False
        if self._lifetimes is None:
            return
        self._present = self._survivors if complete else frozenset()
        self._sources.end()

    def _copy_of_value(self, storage: Storage, _: Any) -> Any:
        """The array of a source, copied on the GPU."""
        with self._gpu.active():
            return self._arrays.of(storage).copy()

    # -- values that were overwritten -------------------------------------------------------------------------
    def restore(self, storage: Storage) -> None:
        """Make a storage that is read hold the value that the run gave it."""
        lifetimes = self._lifetimes
        if self._running or not self._sources.ended or lifetimes is None or storage in self._present:
            return
        if self._plans.is_outdated:
            if self._shapes != _shapes(self._net):
                return  # memory is about to grow: there is no more value that would be right
            raise EngineError(
                "a blob was read that shared its memory, after parameters were exchanged: run the net again, or "
                "read it before"
            )
        with self._gpu.active():
            copy = self._copy(storage)
            if storage not in self._apart:
                copy.array, copy.shares = self._gpu.empty(storage.count, self._arrays.types.of(storage)), False
                self._apart.add(storage)
            self._again(lifetimes.steps_to(storage))
        self._present = frozenset(self._apart | lifetimes.outputs) & (self._present | {storage})

    def _again(self, steps: Sequence[int]) -> None:
        """Run groups once more on what they read in the run; all values that are elsewhere stay as they are."""
        lifetimes = self._lifetimes
        assert lifetimes is not None
        net, gpu = self._net, self._gpu
        groups = [lifetimes.groups[step] for step in steps]
        layers = [node.layer for group in groups for node in group.nodes]
        statistics = {layer.blobs[j].data_storage for layer in layers for j in layer.buffers if j < len(layer.blobs)}
        kept = [(s, self._arrays.of(s).copy(), s.is_fresh(HOST)) for s in statistics]
        draws = [node.layer.rng.draws for node in net.nodes]
        on_host = [s for s in lifetimes.recomputable if s.is_fresh(HOST)]
        self._running = True
        try:
            with self._sources_of_run():
                for storage in lifetimes.recomputable:
                    storage.wrote(gpu.place)
                for node, number in zip(net.nodes, self._draws, strict=True):
                    node.layer.rng.draws = number
                for group in groups:
                    self._runner.forward(group, reshape=False)
        finally:
            self._running = False
            for node, number in zip(net.nodes, draws, strict=True):
                node.layer.rng.draws = number
            for storage in on_host:
                storage.wrote(HOST)
            for storage, array, was_host in kept:
                self._arrays.of(storage)[...] = array
                storage.wrote(HOST if was_host else gpu.place)

    @contextmanager
    def _sources_of_run(self) -> Iterator[None]:
        """Meanwhile the sources that have changed since the run have the values that they had in it."""
        gpu = self._gpu
        lent: list[tuple[Storage, DeviceCopy, Any, bool]] = []
        for storage, array in self._sources.changed.items():
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
        lifetimes = self._lifetimes
        if lifetimes is None:
            return
        self._separate(lifetimes.recomputable)
        self._keep_for_backward(True)
        if self._sources.ended and not self._plans.is_outdated:
            self._again(lifetimes.repeatable)
        self._forget()

    def changed(self) -> None:
        """The net has other shapes. In the middle of a run, what is in use goes on in memory of its own."""
        if self._running and self._lifetimes is not None:
            self._separate(self._lifetimes.recomputable)
            self._forget()

    def remarks(self) -> list[str]:
        """What sharing saves."""
        if self._lifetimes is None:
            return []
        return [
            f"Blobs that share memory take {self.size / 2**20:,.1f} MiB of the GPU, "
            f"apart they would take {self.apart_size / 2**20:,.1f} MiB"
        ]

    def _separate(self, storages: Iterable[Storage]) -> None:
        gpu = self._gpu
        self._forget_graphs()
        for storage in storages:
            copy = storage.copy_at(gpu.place)
            if isinstance(copy, DeviceCopy) and copy.shares:
                copy.array, copy.shares = copy.array.copy(), False

    def _forget(self) -> None:
        if self._lifetimes is not None:
            for storage in self._lifetimes.recomputable:
                copy = storage.copy_at(self._gpu.place)
                if isinstance(copy, DeviceCopy):
                    copy.restore = None
        self._lifetimes, self._key, self.given_up = None, (), True
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
