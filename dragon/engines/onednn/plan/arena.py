"""The arena of a TEST plan: values that are not in use at the same time share bytes.

What a layer made is overwritten once its last reader has run. Whoever reads such a blob afterwards makes the arena
run the calls again that lead to it, from what the plan's sources were in the run. From then on the blob has memory of
its own, so that it costs this once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dragon.engines.arena import Lifetime, place, together
from dragon.engines.onednn.library.memory import Memory, aligned_buffer
from dragon.engines.onednn.plan.rooms import Room, Trace
from dragon.engines.onednn.plan.sources import Sources
from dragon.engines.onednn.plan.steps import Group
from dragon.engines.onednn.plan.values import HostValue, LazyCopy, Value
from dragon.errors import EngineError
from dragon.memory.storage import Storage

__all__ = ["Arena", "Ground"]

Buffer = NDArray[np.uint8]


class Ground:
    """One buffer for the arenas of all plans of a net, as large as the largest needs. One of them is in use."""

    def __init__(self) -> None:
        self.buffer = aligned_buffer(0)
        self._arenas: weakref.WeakSet[Arena] = weakref.WeakSet()
        self._user: weakref.ref[Arena] | None = None

    def enter(self, arena: Arena) -> None:
        """Make place for an arena."""
        self._arenas.add(arena)
        if arena.size > self.buffer.nbytes:
            self.buffer = aligned_buffer(arena.size)
            for other in self._arenas:
                other.settle(self.buffer)
        else:
            arena.settle(self.buffer)

    def use(self, arena: Arena) -> None:
        """A run of this arena's plan begins: what the others hold is lost."""
        before = self._user() if self._user is not None else None
        if before is not arena:
            if before is not None:
                before.lose()
            self._user = weakref.ref(arena)


class Arena:
    """Where the values of one plan lie, and how those come back that have been overwritten.

    outputs: storages that nobody in the net reads; they stay outside.
    """

    def __init__(
        self,
        ground: Ground,
        groups: Sequence[Group],
        values: Sequence[Value | HostValue],
        lazies: Sequence[tuple[Storage, str]],
        outputs: Sequence[Storage],
        sources: Sources,
    ) -> None:
        self._ground = ground
        self._sources = sources
        self._trace = Trace(groups, values)
        self.rooms = self._shared(values, [storage for storage, _ in lazies], outputs)
        self.lifetimes = [room.lifetime for room in self.rooms]
        self.offsets, self.size = place(self.lifetimes)
        self._ids = {id(room) for room in self.rooms}
        self._own: set[int] = set()  # ids of rooms that have left the arena
        self._running = False
        self._survivors = self._uncovered()
        self._present: frozenset[int] = frozenset()  # ids of rooms in the arena that hold their value
        self._restore_by(values, lazies)
        sources.add(room.host.storage for room in self._trace if room.host is not None and room.readers)
        ground.enter(self)

    def _shared(
        self, values: Sequence[Value | HostValue], skipped: Sequence[Storage], outputs: Sequence[Storage]
    ) -> list[Room]:
        """The rooms of the arena."""
        last = {id(value.storage): value for value in values}
        kept = {id(last[id(storage)].memory.origin) for storage in outputs if id(storage) in last}
        found = [
            room
            for room in self._trace
            if room.begins and room.host is None and not room.origin.exposed and id(room.origin) not in kept
        ]
        gone = self._trace.unrepeatable(values, skipped, {id(room) for room in found})
        return [room for room in found if id(room) not in gone]

    def _uncovered(self) -> frozenset[int]:
        """Ids of rooms that no later value is written over."""
        ends = [offset + one.padded for offset, one in zip(self.offsets, self.lifetimes, strict=True)]
        spans = list(zip(self.lifetimes, self.offsets, ends, strict=True))
        return frozenset(
            id(room)
            for room, (one, begin, end) in zip(self.rooms, spans, strict=True)
            if not any(other.start > one.end and a < end and begin < b for other, a, b in spans)
        )

    def _restore_by(self, values: Sequence[Value | HostValue], lazies: Sequence[tuple[Storage, str]]) -> None:
        def restoring(memory: Memory) -> Callable[[], None] | None:
            room = self._trace.room(memory)
            return partial(self.restore, room) if id(room) in self._ids else None

        for value in values:
            if isinstance(value, Value):
                value.copy.restore = restoring(value.memory)
        for storage, where in lazies:
            copy = storage.copy_at(where)
            if isinstance(copy, LazyCopy):
                copy.restores = [call for call in map(restoring, copy.sources) if call is not None]

    # -- sizes ----------------------------------------------------------------------------------------------
    @property
    def total(self) -> int:
        """Bytes that the values of the arena would need without sharing."""
        return sum(one.padded for one in self.lifetimes)

    @property
    def taken(self) -> int:
        """Bytes that they take, with what blobs take that somebody has read."""
        own = (one.padded for room, one in zip(self.rooms, self.lifetimes, strict=True) if id(room) in self._own)
        return self.size + sum(own)

    @property
    def peak(self) -> int:
        """Bytes of the values that are in use at the same time: no arena can be smaller."""
        return together(self.lifetimes)

    def spans(self) -> Iterator[tuple[Lifetime, int]]:
        """Lifetime and offset of each value."""
        return zip(self.lifetimes, self.offsets, strict=True)

    # -- running --------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """The plan begins to run forward; until `end` every value is taken as it is."""
        self._ground.use(self)
        self._sources.begin()
        self._running = True

    def end(self, complete: bool) -> None:
        """The plan has run, or broken off."""
        self._running = False
        self._present = self._survivors if complete else frozenset()
        self._sources.end()

    def settle(self, buffer: Buffer) -> None:
        """Lie in this buffer from now on."""
        self.lose()
        for room, one, offset in zip(self.rooms, self.lifetimes, self.offsets, strict=True):
            if id(room) not in self._own:
                _move(room, buffer[offset : offset + one.padded])

    def lose(self) -> None:
        """Somebody else has used the bytes."""
        self._present = frozenset()

    def restore(self, room: Room) -> None:
        """Make a room hold what it held when its last call had run."""
        if self._running or id(room) in self._own or id(room) in self._present:
            return
        self._own.add(id(room))
        _move(room, aligned_buffer(room.origin.desc.size))
        steps = self._leading_to(room)
        self._ground.use(self)
        self._present = frozenset()
        with self._sources_of_then(steps):
            for step in steps:
                self._trace.calls[step]()

    def _leading_to(self, room: Room) -> list[int]:
        """The calls that compute a room from what is still there."""
        steps: set[int] = set()
        found = {id(room)}
        todo = [room]
        while todo:
            for step in todo.pop().writers:
                if step in steps:
                    continue
                steps.add(step)
                call = self._trace.calls[step]
                read = [r for r in self._trace.read_by(call) if id(r) not in self._own or r.writers[-1] >= step]
                for other in (*read, *self._trace.written_by(call)):
                    if id(other) in self._ids and id(other) not in found:
                        found.add(id(other))
                        todo.append(other)
        return sorted(steps)

    @contextmanager
    def _sources_of_then(self, steps: Sequence[int]) -> Iterator[None]:
        """While the calls read those host values that have changed since the run as they were."""
        rooms = {id(room): room for step in steps for room in self._trace.read_by(self._trace.calls[step]) if room.host}
        moved: list[tuple[Room, Buffer]] = []
        try:
            for room in rooms.values():
                assert room.host is not None
                saved = self._sources.saved(room.host.storage)
                if saved is not None:
                    moved.append((room, room.origin.buffer))
                    _move(room, saved.view(np.uint8))
                elif not room.host.valid:
                    raise EngineError("a blob was read whose value went when a shape changed in the middle of a run")
            yield
        finally:
            for room, buffer in moved:
                _move(room, buffer)


def _move(room: Room, buffer: Buffer) -> None:
    for memory in room.memories.values():
        memory.rebind(buffer)
