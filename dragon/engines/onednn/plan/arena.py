"""The arena of a TEST plan: values that are not in use at the same time share bytes.

A value is overwritten once its last reader has run. When somebody reads such a blob afterwards, the arena repeats the
calls that compute it, on the values that the plan read in its run. From then on the blob has memory of its own, so that
it is recomputed once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from dragon.engines.lifetimes.placing import Lifetime, Placement
from dragon.engines.lifetimes.sources import Sources
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.plan.buffers import Buffer, Buffers, Bytes
from dragon.engines.onednn.plan.steps import Group
from dragon.engines.onednn.plan.values import HostValue, LazyCopy, Value
from dragon.errors import EngineError
from dragon.memory.aligned import aligned_bytes
from dragon.memory.storage import Array, Storage

__all__ = ["Arena", "ArenaMemory"]


class ArenaMemory:
    """The memory of the arenas of all plans of a net, as large as the largest needs. One arena uses it at a time."""

    def __init__(self) -> None:
        self.bytes = aligned_bytes(0)
        self._arenas: weakref.WeakSet[Arena] = weakref.WeakSet()
        self._user: weakref.ref[Arena] | None = None

    def add(self, arena: Arena) -> None:
        """Let an arena lie here. Where the memory has to grow for it, all arenas move."""
        self._arenas.add(arena)
        if arena.size > self.bytes.nbytes:
            self.bytes = aligned_bytes(arena.size)
            for other in self._arenas:
                other.move(self.bytes)
        else:
            arena.move(self.bytes)

    def use(self, arena: Arena) -> None:
        """The arena is about to write: the values of the arena that wrote before are lost."""
        before = self._user() if self._user is not None else None
        if before is not arena:
            if before is not None:
                before.lose()
            self._user = weakref.ref(arena)


class Arena:
    """Where the values of one plan lie, and how overwritten ones are recomputed.

    lazies: storages that the plan does not compute, with the place of their `LazyCopy`. outputs: storages that no layer
    reads; they have memory of their own. sources: what the plan's lazy copies start from; gets what the arena does.
    lacks: whether a value is overwritten in each pass that cannot be computed again; such a plan must not run.
    """

    def __init__(
        self,
        memory: ArenaMemory,
        groups: Sequence[Group],
        values: Sequence[Value | HostValue],
        lazies: Sequence[tuple[Storage, str]],
        outputs: Sequence[Storage],
        sources: Sources[Array],
    ) -> None:
        self._memory = memory
        self._sources = sources
        self._buffers = Buffers(groups, values, [storage for storage, _ in lazies])
        graph = self._graph = self._buffers.graph
        last = {value.storage: value for value in values}
        self._outputs = {self._buffers.of(last[storage].memory) for storage in outputs if storage in last}
        inside = [b for b in graph.written if b in graph.recomputable and b not in self._outputs]
        self._placement = Placement({buffer: graph.lifetime(buffer, buffer.size) for buffer in inside})
        self._own: set[Buffer] = set()  # buffers that have left the arena
        self._running = False
        self._present: frozenset[Buffer] = frozenset()  # buffers in the arena that hold their value
        self._restore_by(values, lazies)
        self.lacks = self._recompute(values)
        sources.add(buffer.host.storage for buffer in graph.sources if buffer.host is not None)
        memory.add(self)

    def _restore_by(self, values: Sequence[Value | HostValue], lazies: Sequence[tuple[Storage, str]]) -> None:
        def restoring(memory: Memory) -> Callable[[], None] | None:
            buffer = self._buffers.of(memory)
            return partial(self.restore, buffer) if buffer in self._placement.offsets else None

        for value in values:
            if isinstance(value, Value):
                value.copy.restore = restoring(value.memory)
        for storage, place in lazies:
            copy = storage.copy_at(place)
            if isinstance(copy, LazyCopy):
                copy.restores = [call for call in map(restoring, copy.sources) if call is not None]

    def _recompute(self, values: Sequence[Value | HostValue]) -> bool:
        """Have values that a later one overwrites in each pass computed when they are read; whether one cannot be."""
        numbers = {id(call): number for number, call in enumerate(self._buffers.calls)}
        for value in values:
            if isinstance(value, Value) and value.overwritten_by is not None:
                buffer = self._buffers.of(value.memory)
                if buffer not in self._graph.recomputable:
                    return True
                value.copy.earlier = partial(self._before, buffer, numbers[id(value.overwritten_by)])
        return False

    # -- sizes ----------------------------------------------------------------------------------------------
    @property
    def buffers(self) -> list[Buffer]:
        """Those that were given a place in the arena."""
        return list(self._placement.offsets)

    @property
    def size(self) -> int:
        """Bytes of the arena."""
        return self._placement.size

    @property
    def total(self) -> int:
        """Bytes that its buffers take without sharing."""
        return self._placement.unshared

    @property
    def taken(self) -> int:
        """Bytes that they take, with the memory of blobs that somebody has read."""
        return self.size + sum(self._placement.lifetimes[buffer].padded for buffer in self._own)

    @property
    def peak(self) -> int:
        """Bytes of the buffers that are in use at the same time: no arena can be smaller."""
        return self._placement.peak

    def spans(self) -> Iterator[tuple[Lifetime, int]]:
        """Lifetime and offset of each buffer."""
        return zip(self._placement.lifetimes.values(), self._placement.offsets.values(), strict=True)

    # -- running --------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """The plan begins to run forward. Until `end`, whoever reads a value gets what its bytes hold."""
        self._memory.use(self)
        self._sources.begin()
        self._running = True

    def end(self, complete: bool) -> None:
        """The plan has run, or broken off where not `complete`."""
        self._running = False
        self._present = self._placement.survivors if complete else frozenset()
        self._sources.end()

    def move(self, memory: Bytes) -> None:
        """Lie in this memory from now on; values in the arena are lost."""
        self.lose()
        for buffer, offset in self._placement.offsets.items():
            if buffer not in self._own:
                buffer.move(memory[offset : offset + self._placement.lifetimes[buffer].padded])

    def lose(self) -> None:
        """Somebody else has used the bytes."""
        self._present = frozenset()

    def restore(self, buffer: Buffer) -> None:
        """Make a buffer hold the value that it had when the plan had run."""
        if self._running or buffer in self._own or buffer in self._present:
            return
        self._own.add(buffer)
        buffer.move(aligned_bytes(buffer.size))
        steps = self._steps_to(buffer)
        self._memory.use(self)
        self._present = frozenset()
        self._repeat(steps)

    def _before(self, buffer: Buffer, number: int, read: Callable[[], None]) -> None:
        """Call `read` while the buffer holds the value that it had just before step `number` of the run.

        All that is written on the way lies in other memory meanwhile, so that nothing else changes.
        """
        if self._running:  # by a layer before that step
            read()
            return
        steps = self._graph.steps_before(buffer, number)
        written = dict.fromkeys(each for step in steps for each in self._graph.steps[step].writes)
        before = {each: each.origin.buffer for each in written}
        try:
            for each in written:
                each.move(aligned_bytes(each.size))
            self._repeat(steps)
            read()
        finally:
            for each, memory in before.items():
                each.move(memory)

    def _steps_to(self, buffer: Buffer) -> list[int]:
        """The calls that compute a buffer from what still has its value."""
        return self._graph.steps_to(buffer, self._own | self._outputs)

    def _repeat(self, steps: Sequence[int]) -> None:
        """Run these calls again, on what they read in the run."""
        with self._sources_of_run(steps):
            for step in steps:
                self._buffers.calls[step]()

    @contextmanager
    def _sources_of_run(self, steps: Sequence[int]) -> Iterator[None]:
        """Meanwhile the calls read those host values that have changed since the run as they were in it."""
        read = {buffer for step in steps for buffer in self._graph.steps[step].reads}
        moved: list[tuple[Buffer, Bytes]] = []
        try:
            for buffer in read:
                if buffer.host is None:
                    continue
                saved = self._sources.changed.get(buffer.host.storage)
                if saved is not None:
                    moved.append((buffer, buffer.origin.buffer))
                    buffer.move(saved.view(np.uint8))
                elif not buffer.host.valid:
                    raise EngineError("a blob was read whose value went when a shape changed in the middle of a run")
            yield
        finally:
            for buffer, memory in moved:
                buffer.move(memory)
