"""Sharing: blobs that are never in use at the same time share memory, in TEST and in training.

In TEST data lies in one arena while the whole net runs forward; in TRAIN data and diffs do while it runs forward and
backward. A blob that was overwritten is recomputed when somebody reads it, from the values that the pass read, and has
memory of its own from then on. Another kind of run (of a part of the net, between hooks, in one direction only in
TRAIN) ends the sharing for good: each blob gets its value, in memory of its own.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dragon.bases.layer import TEST, TRAIN
from dragon.engines.base import is_watched
from dragon.engines.cuda.device.copies import DeviceCopy
from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.plan.arena import BlobArena, Places
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.division import Division
from dragon.engines.cuda.plan.lifetimes import (
    WORTH_SHARING,
    BlobLifetimes,
    learned_storages,
    saved_bytes,
    shares_in_training,
)
from dragon.engines.cuda.plan.parameters import ParameterCopies
from dragon.engines.cuda.plan.plans import Plans
from dragon.engines.cuda.plan.recomputing import Recomputing
from dragon.engines.cuda.plan.running import GroupRunner
from dragon.engines.lifetimes.sources import Sources
from dragon.errors import EngineError
from dragon.memory.storage import Storage, stale_among

if TYPE_CHECKING:
    from dragon.engines.cuda.plan.plan import Group, Plan
    from dragon.graph.net import Net

__all__ = ["WORTH_SHARING", "Sharing"]

log = logging.getLogger("dragon")
_Placed = tuple[tuple[Any, ...], BlobLifetimes, Places]
MOST_READS = 8  # overwritten blobs that are read after one training pass; a script that reads more wants all of them


class Sharing:
    """The arena of a net's blobs.

    A pass that comes back to shapes of before finds the blobs where its graphs have them, as long as the arena did not
    grow. own: storages outside the arena, since somebody has read them. given_up: whether the sharing has ended for
    good. worth: the least bytes that it must save in training.
    """

    def __init__(
        self, net: Net, gpu: Gpu, arrays: Arrays, plans: Plans, division: Division, runner: GroupRunner
    ) -> None:
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._plans = plans
        self._division = division
        self._recomputing = Recomputing(net, gpu, arrays, runner)
        self._arena = BlobArena(net, gpu, arrays, plans.forget_graphs, plans.forget_others)
        self._me: weakref.ref[Sharing] = weakref.ref(self)
        self._key: tuple[Any, ...] = ()  # of the last pass: its plan, how many blobs lie outside, what has run
        # where the last pass of each plan had its storages, with what has run in that pass
        self._places: weakref.WeakKeyDictionary[Plan, _Placed] = weakref.WeakKeyDictionary()
        self._unshared: weakref.WeakSet[Plan] = weakref.WeakSet()  # in whose training passes blobs share no memory
        self._lifetimes: BlobLifetimes | None = None  # while blobs share
        self.own: set[Storage] = set()
        self._present: frozenset[Storage] = frozenset()  # those that hold their value
        self._survivors: frozenset[Storage] = frozenset()
        self._sources: Sources[Any] = Sources(self._copy_of_value, reuse=False, follow=True)
        self._parameters: ParameterCopies | None = None  # before a training pass
        self._shapes: list[tuple[int, ...]] = []
        self._twins: list[Storage] = []  # those at the place of another one
        self._running = False
        self._reads = 0  # of overwritten blobs, since the last pass
        self._settled = -1  # version of the net after the last whole run
        self.given_up = False
        self.worth = WORTH_SHARING

    @property
    def watcher(self) -> weakref.ref[Any]:
        """The watcher of what a pass reads. What the pass writes while it runs need not be reported to it."""
        return self._sources.watcher

    @property
    def size(self) -> int:
        """Bytes of the arena."""
        return self._arena.size

    @property
    def unshared_size(self) -> int:
        """Bytes that its blobs would take without sharing."""
        return self._arena.unshared_size

    # -- a forward in TEST ----------------------------------------------------------------------------------------
    @contextmanager
    def forward(self, start: int, end: int) -> Iterator[None]:
        """Within the block layers start..end run forward: blobs share memory if these are all layers, else no more."""
        if not self._serves(start, end):
            self.leave()
            yield
            self._settled = self._net.context.space.version
            return
        groups = self._groups("forward")
        key = (self._plans.current, len(self.own), *((g.first, g.last, g.on_host) for g in groups))
        if self._key != key or self._lifetimes is None:
            if not self._put_back(key):
                self._place(BlobLifetimes(self._net, groups, self._arrays.types), key)
            self._keep_for_backward(False)
        assert self._lifetimes is not None
        with self._running_pass():
            for storage in self._lifetimes.recomputable:
                storage.notify_watchers()
                storage.wrote(self._gpu.place)  # it will be written before anybody reads it
            yield

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

    # -- a training pass ------------------------------------------------------------------------------------------
    @contextmanager
    def training(self) -> Iterator[None]:
        """Within the block the whole net runs forward, then backward: blobs share memory if all runs by kernels.

        The block must call `save_parameters` before the first layer that computes.
        """
        if not self.enter_training():
            self.leave()
            yield
            return
        with self._running_pass():
            self._expect_twins()
            yield

    def _expect_twins(self) -> None:
        """Mark twins as written, which the pass will do: an upload would overwrite another one's value."""
        for storage in stale_among(self._twins, self._gpu.place):
            storage.notify_watchers()
            storage.wrote(self._gpu.place)

    def enter_training(self) -> bool:
        """Place the blobs for a training pass; False where they do not share memory."""
        net = self._net
        if self.given_up or net.phase != TRAIN or is_watched(net):
            return False
        if self._plans.is_outdated:
            self._plans.settle(0, len(net.nodes) - 1)
        plan = self._plans.current
        key = (plan, len(self.own), "training")
        if self._key != key:
            if not self._put_back(key) and (self._lifetimes is not None or plan not in self._unshared):
                lifetimes = self._lifetimes_in_training(plan.groups)
                if lifetimes is None:
                    self._end_sharing()
                    self._unshared.add(plan)
                else:
                    self._place(lifetimes, key)
            if self._lifetimes is not None:
                self._copy_parameters()
            self._key = key
        return self._lifetimes is not None

    def _copy_parameters(self) -> None:
        """Have memory for copies of the parameters, the same for all shapes."""
        storages = list(dict.fromkeys(s.data_storage for node in self._net.nodes for s in node.layer.blobs if s.count))
        if self._parameters is None or self._parameters.storages != storages:
            self._plans.forget_others()  # whose graphs write the copies that there were
            self._parameters = ParameterCopies(self._gpu, self._arrays, storages)
        self._sources.copied = self._parameters.arrays

    def _lifetimes_in_training(self, groups: Sequence[Group]) -> BlobLifetimes | None:
        """None where sharing is impossible or saves little."""
        if not shares_in_training(groups):
            return None
        forward, backward = self._groups("forward"), self._groups("backward")
        try:
            found = BlobLifetimes(self._net, forward, self._arrays.types, backward, self._arrays.layouts)
        except Exception as error:
            log.warning("blobs share no memory in training: %s: %s", type(error).__name__, error)
            return None
        worth = self.worth if self._lifetimes is None else 0  # other shapes should not move what shares already
        return found if saved_bytes(found, self.own) >= worth else None

    def save_parameters(self) -> None:
        """Copy the parameters, at once or into the graph that is being captured, if blobs share memory in training."""
        if self._lifetimes is not None and self._parameters is not None:
            self._parameters.launch()

    # -- a pass -----------------------------------------------------------------------------------------------------
    def _groups(self, way: str) -> Sequence[Group]:
        plan, last = self._plans.current, len(self._net.nodes) - 1
        if way == "backward":
            return self._division.backward_groups(plan, 0, last)
        return self._division.groups(plan, 0, last, way)

    def _place(self, lifetimes: BlobLifetimes, key: tuple[Any, ...]) -> None:
        """Place the blobs in the arena."""
        shared = lifetimes.recomputable
        if self._lifetimes is not None:
            self._arena.separate(self._lifetimes.recomputable - shared)
            self._release(self._lifetimes.recomputable - shared)
        self.own = {s for s in shared if s in self.own or s.held}
        self._lifetimes, self._key = None, ()
        self._places.pop(self._plans.current, None)
        places = self._arena.place(lifetimes, self.own)
        for storage in shared:
            self._arena.copy_of(storage).restore = _restoring(self._me, weakref.ref(storage))
        self._places[self._plans.current] = key[2:], lifetimes, places
        self._begin(lifetimes, places, key)

    def _put_back(self, key: tuple[Any, ...]) -> bool:
        """Place the blobs as they were when the present plan was used last; False where that is not possible."""
        found = self._places.get(self._plans.current)
        if found is None or self._lifetimes is None:
            return False
        ran, lifetimes, places = found
        moved = self._lifetimes.recomputable - lifetimes.recomputable  # what these graphs have outside the arena
        if ran != key[2:] or moved or not self._arena.put_back(places, self.own):
            return False
        self._begin(lifetimes, places, key)
        return True

    def _begin(self, lifetimes: BlobLifetimes, places: Places, key: tuple[Any, ...]) -> None:
        """Note that the blobs have these places."""
        self._lifetimes, self._key, self._survivors = lifetimes, key, places.survivors
        self._shapes = _shapes(self._net)
        self._twins = list(places.twins)
        self._sources.clear()
        self._sources.add(lifetimes.sources - learned_storages(self._net) if lifetimes.trains else lifetimes.sources)

    def _keep_for_backward(self, keep: bool) -> None:
        """Let lowerings save in forward what only backward needs, or not; those that cannot run again always do."""
        assert self._lifetimes is not None
        for group in [self._lifetimes.groups[step] for step in self._lifetimes.repeatable]:
            if group.lowering is not None:
                group.lowering.learns = keep and group.need_backward

    @contextmanager
    def _running_pass(self) -> Iterator[None]:
        self._running = True
        self._reads = 0
        self._sources.begin()
        self._recomputing.save_draws()
        complete = False
        try:
            yield
            complete = True
        finally:
            self._running = False
            if self._lifetimes is not None:
                self._present = self._survivors if complete else frozenset()
                self._sources.end()

    def _copy_of_value(self, storage: Storage, _: Any) -> Any:
        """A copy of a source's array, on the GPU."""
        with self._gpu.active():
            return self._arrays.of(storage).copy()

    # -- values that were overwritten -------------------------------------------------------------------------
    def restore(self, storage: Storage) -> None:
        """Make a storage hold the value that the pass gave it, before it is read. EngineError where it is lost."""
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
        self._reads += 1
        if lifetimes.trains and self._reads > MOST_READS:
            with self._gpu.active():
                self.leave()
            return
        with self._gpu.active():
            if storage not in self.own:
                self._arena.take_out(storage)
                self.own.add(storage)
            self._recompute(lifetimes.steps_to(storage))
        self._present = frozenset(self.own | lifetimes.outputs) & (self._present | {storage})

    def _recompute(self, steps: Sequence[int]) -> None:
        assert self._lifetimes is not None
        self._running = True
        try:
            self._recomputing.run(self._lifetimes, self._sources, steps)
        finally:
            self._running = False

    # -- the end ------------------------------------------------------------------------------------------------
    def leave(self) -> None:
        """End the sharing: blobs get memory of their own and their values, lowerings what backward needs."""
        lifetimes = self._lifetimes
        if lifetimes is None:
            return
        self._arena.separate(lifetimes.recomputable)
        self._keep_for_backward(True)
        if self._sources.ended and not self._plans.is_outdated:
            self._recompute(lifetimes.repeatable)
        self._end_sharing()
        self.given_up = True

    def changing(self) -> None:
        """Called before shapes change: in the middle of a forward in TEST, end the sharing. Blobs keep their values."""
        if self._running and self._lifetimes is not None and not self._lifetimes.trains:
            self._end_sharing()
            self.given_up = True

    def changed(self) -> None:
        """Called after shapes have changed: in a training pass, place the blobs anew.

        Only sources change shapes in the middle of one, before the first layer that computes, so no value is lost.
        """
        if self._running and self._lifetimes is not None and self.enter_training():
            self.save_parameters()
            self._expect_twins()

    def remarks(self) -> list[str]:
        """One line: the memory that sharing saves."""
        if self._lifetimes is None:
            return []
        return [
            f"Blobs that share memory take {self.size / 2**20:,.1f} MiB of the GPU, "
            f"apart they would take {self.unshared_size / 2**20:,.1f} MiB"
        ]

    def _end_sharing(self) -> None:
        """Give blobs memory of their own, with the values that are there."""
        if self._lifetimes is not None:
            self._plans.forget_others()
            self._arena.separate(self._lifetimes.recomputable)
            self._release(self._lifetimes.recomputable)
        self._lifetimes, self._key, self._parameters = None, (), None
        self._sources.clear()
        self._arena.close()

    def _release(self, storages: Iterable[Storage]) -> None:
        for storage in storages:
            copy = storage.copy_at(self._gpu.place)
            if isinstance(copy, DeviceCopy):
                copy.restore = None


def _shapes(net: Net) -> list[tuple[int, ...]]:
    return [blob.shape for blob in net.blobs.values()]


def _restoring(sharing: weakref.ref[Sharing], storage: weakref.ref[Storage]) -> Any:
    def restore() -> None:
        alive, wanted = sharing(), storage()
        if alive is not None and wanted is not None:
            alive.restore(wanted)

    return restore
