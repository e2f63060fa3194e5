"""Sharing: blobs that are never in use at the same time share memory in TEST.

While the whole net runs forward, tops lie in one arena. A blob that was overwritten is recomputed when somebody reads
it, from the values that the run read, and has memory of its own from then on. A run of a part of the net, a hook
between layers or a backward ends the sharing for good: each blob gets its value, in memory of its own.
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
from dragon.engines.cuda.plan.recomputing import Recomputing
from dragon.engines.cuda.plan.running import GroupRunner
from dragon.engines.lifetimes.placing import Placement
from dragon.engines.lifetimes.sources import Sources
from dragon.errors import EngineError
from dragon.memory.storage import HOST, Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Sharing"]


class Sharing:
    """The arena of a net's blobs in TEST.

    forget_graphs: called when arrays have moved. size: bytes of the arena; unshared_size: of the same blobs without
    sharing. given_up: whether the sharing has ended for good.
    """

    def __init__(
        self, net: Net, gpu: Gpu, arrays: Arrays, plans: Plans, division: Division, runner: GroupRunner,
        forget_graphs: Callable[[], None],
    ) -> None:  # fmt: skip
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._plans = plans
        self._division = division
        self._recomputing = Recomputing(net, gpu, arrays, runner)
        self._forget_graphs = forget_graphs
        self._me: weakref.ref[Sharing] = weakref.ref(self)
        self._key: tuple[Any, ...] = ()
        self._lifetimes: BlobLifetimes | None = None  # while blobs share
        self._own: set[Storage] = set()  # outside the arena, since somebody has read them
        self._present: frozenset[Storage] = frozenset()  # those that hold their value
        self._survivors: frozenset[Storage] = frozenset()
        self._sources: Sources[Any] = Sources(self._copy_of_value, reuse=False)
        self._shapes: list[tuple[int, ...]] = []
        self._running = False
        self._settled = -1  # version of the net after the last whole run
        self.given_up = False
        self.size = self.unshared_size = 0

    # -- a run ------------------------------------------------------------------------------------------------
    @contextmanager
    def forward(self, start: int, end: int) -> Iterator[None]:
        """Within the block layers start..end run forward: blobs share memory if these are all layers, else no more."""
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
        """Place the blobs in the arena, unless they are already placed for these groups."""
        groups = self._division.groups(self._plans.current, 0, len(self._net.nodes) - 1, "forward")
        key = (*((g.first, g.last, g.on_host) for g in groups), self._net.context.space.version, len(self._own))
        if self._key == key and self._lifetimes is not None:
            return
        lifetimes = BlobLifetimes(self._net, groups, self._arrays.types)
        shared = lifetimes.recomputable
        self._own = {s for s in shared if s in self._own or s.held}
        placement = Placement(lifetimes.in_arena(self._own))
        self.size, self.unshared_size = placement.size, placement.unshared
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
        """Let lowerings save in forward what only backward needs, or not; those that cannot run again always do."""
        assert self._lifetimes is not None
        for group in [self._lifetimes.groups[step] for step in self._lifetimes.repeatable]:
            if group.lowering is not None:
                group.lowering.learns = keep and group.need_backward

    def _allocate(self, lifetimes: BlobLifetimes, placement: Placement[Storage]) -> Any:
        gpu = self._gpu
        gpu.cupy.get_default_memory_pool().free_all_blocks()  # memory that CuPy holds for reuse
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
        """The copy of a storage on the GPU, whose value may be lost; made if there is none."""
        gpu = self._gpu
        copy = storage.copy_at(gpu.place)
        if not isinstance(copy, DeviceCopy):
            copy = DeviceCopy(gpu, None, layout=self._arrays.layouts.of(storage))
            storage.attach(gpu.place, copy)
        copy.restore = _restoring(self._me, weakref.ref(storage))
        copy.drop_feed()
        return copy

    def _begin(self) -> None:
        assert self._lifetimes is not None
        self._running = True
        self._sources.begin()
        self._shapes = _shapes(self._net)
        self._recomputing.save_draws()
        for storage in self._lifetimes.recomputable:
            storage.notify_watchers()
            storage.wrote(self._gpu.place)  # it will be written before anybody reads it

    def _end(self, complete: bool) -> None:
        self._running = False
        if self._lifetimes is None:
            return
        self._present = self._survivors if complete else frozenset()
        self._sources.end()

    def _copy_of_value(self, storage: Storage, _: Any) -> Any:
        """A copy of a source's array, on the GPU."""
        with self._gpu.active():
            return self._arrays.of(storage).copy()

    # -- values that were overwritten -------------------------------------------------------------------------
    def restore(self, storage: Storage) -> None:
        """Make a storage hold the value that the run gave it, before it is read. EngineError where it is lost."""
        lifetimes = self._lifetimes
        if self._running or not self._sources.ended or lifetimes is None or storage in self._present:
            return
        if self._plans.is_outdated:
            if self._shapes != _shapes(self._net):
                return  # shapes have changed: no value is right any more
            raise EngineError(
                "a blob was read that shared its memory, after parameters were exchanged: run the net again, or "
                "read it before"
            )
        with self._gpu.active():
            copy = self._copy(storage)
            if storage not in self._own:
                copy.array, copy.shares = self._gpu.empty(storage.count, self._arrays.types.of(storage)), False
                self._own.add(storage)
            self._recompute(lifetimes.steps_to(storage))
        self._present = frozenset(self._own | lifetimes.outputs) & (self._present | {storage})

    def _recompute(self, steps: Sequence[int]) -> None:
        assert self._lifetimes is not None
        self._running = True
        try:
            self._recomputing.run(self._lifetimes, self._sources, steps)
        finally:
            self._running = False

    # -- the end ------------------------------------------------------------------------------------------------
    def leave(self) -> None:
        """End the sharing: blobs get memory of their own and their values of the run, lowerings what backward needs."""
        lifetimes = self._lifetimes
        if lifetimes is None:
            return
        self._separate(lifetimes.recomputable)
        self._keep_for_backward(True)
        if self._sources.ended and not self._plans.is_outdated:
            self._recompute(lifetimes.repeatable)
        self._forget()

    def changed(self) -> None:
        """Shapes have changed. In the middle of a run, give the blobs memory of their own and end the sharing."""
        if self._running and self._lifetimes is not None:
            self._separate(self._lifetimes.recomputable)
            self._forget()

    def remarks(self) -> list[str]:
        """One line: the memory that sharing saves."""
        if self._lifetimes is None:
            return []
        return [
            f"Blobs that share memory take {self.size / 2**20:,.1f} MiB of the GPU, "
            f"apart they would take {self.unshared_size / 2**20:,.1f} MiB"
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
        self.size = self.unshared_size = 0


def _shapes(net: Net) -> list[tuple[int, ...]]:
    return [blob.shape for blob in net.blobs.values()]


def _restoring(sharing: weakref.ref[Sharing], storage: weakref.ref[Storage]) -> Any:
    def restore() -> None:
        alive, wanted = sharing(), storage()
        if alive is not None and wanted is not None:
            alive.restore(wanted)

    return restore
