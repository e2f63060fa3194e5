"""The buffers that a plan's values lie in, and its forward pass as steps that read and write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dragon.engines.lifetimes.steps import Step, StepGraph
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call, SumPost
from dragon.engines.onednn.plan.bound import Measured
from dragon.engines.onednn.plan.steps import Group
from dragon.engines.onednn.plan.steps import Step as PlanStep
from dragon.engines.onednn.plan.values import HostValue, Value
from dragon.memory.storage import Storage

__all__ = ["Buffer", "Buffers", "Bytes"]

Bytes = NDArray[np.uint8]


@dataclass(eq=False)
class Buffer:
    """The bytes of one memory (`origin`) and of its views; `memories` has all of them, by id."""

    origin: Memory
    memories: dict[int, Memory] = field(default_factory=dict)
    host: HostValue | None = None  # whose host array these bytes are

    @property
    def size(self) -> int:
        """In bytes."""
        return self.origin.desc.size

    def move(self, memory: Bytes) -> None:
        """Lie in other memory; the content does not move."""
        for view in self.memories.values():
            view.rebind(memory)


class Buffers:
    """The buffers of a plan's forward pass.

    calls: all steps of the pass. graph: what they read and write; a step in Python reads what it fetches to the host.
    skipped: storages whose value at the end of the pass is none of `values`.
    """

    def __init__(
        self, groups: Iterable[Group], values: Sequence[Value | HostValue], skipped: Iterable[Storage]
    ) -> None:
        self._buffers: dict[int, Buffer] = {}  # by id of the origin
        self.calls: list[PlanStep] = []
        steps: list[Step[Buffer]] = []
        for group in groups:
            self.calls += group.forward.calls
            steps += map(self._step, group.forward.calls)
            if group.forward.host_reads:
                last = steps.pop()
                fetched = [self.of(value.memory) for value in group.forward.host_reads]
                steps.append(Step((*last.reads, *fetched), last.writes))
        for value in values:
            buffer = self.of(value.memory)
            for memory in value.derived.values():
                self.of(memory)
            if isinstance(value, HostValue):
                buffer.host = value
        everything = self._buffers.values()
        final = {id(value.storage): value for value in values}
        for storage in skipped:
            final.pop(id(storage), None)
        self.graph = StepGraph(
            steps,
            pinned={buffer for buffer in everything if buffer.host is not None or buffer.origin.exposed},
            replaced={b for b in everything if b.host is not None and final.get(id(b.host.storage)) is not b.host},
        )

    def of(self, memory: Memory) -> Buffer:
        """The buffer that a memory lies in."""
        origin = memory.origin
        buffer = self._buffers.get(id(origin))
        if buffer is None:
            buffer = self._buffers[id(origin)] = Buffer(origin, {id(origin): origin})
        buffer.memories[id(memory)] = memory
        return buffer

    def _step(self, call: PlanStep) -> Step[Buffer]:
        if isinstance(call, Measured):
            return Step([self.of(call.memory)])
        if not isinstance(call, Call):
            return Step()
        reads, writes = (
            dict.fromkeys(self.of(call.memories[arg]) for arg in arguments)
            for arguments in (call.primitive.inputs, call.primitive.outputs)
        )
        if any(isinstance(post, SumPost) for post in call.primitive.post_ops):  # which adds to what was there
            reads |= writes
        return Step(reads.keys(), writes.keys())
