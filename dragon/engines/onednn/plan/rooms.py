"""Rooms: the bytes that values of a plan live in, and which calls write and read them, found from its steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dragon.engines.arena import Lifetime
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.steps import Group
from dragon.engines.onednn.plan.values import HostValue, Value
from dragon.memory.storage import Storage

__all__ = ["Room", "Trace"]


@dataclass(eq=False)
class Room:
    """The bytes of one memory and its views. Numbers of steps count over the whole forward pass of the plan."""

    origin: Memory
    memories: dict[int, Memory] = field(default_factory=dict)  # all that must move with it
    writers: list[int] = field(default_factory=list)
    readers: list[int] = field(default_factory=list)
    host: HostValue | None = None  # the bytes are the host copy of a storage

    @property
    def lifetime(self) -> Lifetime:
        return Lifetime(self.writers[0], max([*self.writers, *self.readers]), self.origin.desc.size)

    @property
    def begins(self) -> bool:
        """Whether it is written before it is read, so that nothing from before the run is in it."""
        return bool(self.writers) and all(self.writers[0] < reader for reader in self.readers)


class Trace:
    """What the steps of a plan's forward read and write."""

    def __init__(self, groups: Iterable[Group], values: Sequence[Value | HostValue]) -> None:
        self.calls: dict[int, Call] = {}
        self._rooms: dict[int, Room] = {}
        step = 0
        for group in groups:
            for call in group.forward.calls:
                if isinstance(call, Call):
                    self._note(step, call)
                step += 1
            for read in group.forward.host_reads:
                self.room(read.memory).readers.append(step - 1)
        for value in values:
            room = self.room(value.memory)
            for memory in value.derived.values():
                self.room(memory)
            if isinstance(value, HostValue):
                room.host = value

    def room(self, memory: Memory) -> Room:
        """The room that a memory lies in."""
        origin = memory.origin
        room = self._rooms.setdefault(id(origin), Room(origin))
        room.memories[id(origin)] = origin
        room.memories[id(memory)] = memory
        return room

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def _note(self, step: int, call: Call) -> None:
        self.calls[step] = call
        for room in self.read_by(call):
            room.readers.append(step)
        for room in self.written_by(call):
            room.writers.append(step)

    def read_by(self, call: Call) -> list[Room]:
        return self._of(call, call.primitive.inputs)

    def written_by(self, call: Call) -> list[Room]:
        return self._of(call, call.primitive.outputs)

    def _of(self, call: Call, arguments: Iterable[int]) -> list[Room]:
        rooms = {id(room): room for room in (self.room(call.memories[arg]) for arg in arguments)}
        return list(rooms.values())

    def unrepeatable(
        self, values: Sequence[Value | HostValue], skipped: Iterable[Storage], moves: set[int]
    ) -> set[int]:
        """Ids of rooms that calls alone cannot compute again after the run.

        That is so where a call reads what gets another value later in the run: a host copy, or a room that is not
        among those in `moves`, whose calls would be repeated with it.
        """
        last = {id(value.storage): value for value in values}
        for storage in skipped:
            last.pop(id(storage), None)
        gone = {id(room) for room in self if room.host is not None and last.get(id(room.host.storage)) is not room.host}
        for step, call in sorted(self.calls.items()):
            for room in self.read_by(call):
                if id(room) in gone or (id(room) not in moves and max(room.writers, default=-1) > step):
                    gone.update(id(made) for made in self.written_by(call))
        return gone
