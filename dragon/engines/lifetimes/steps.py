"""What the steps of a forward pass read and write, and what follows from it.

An engine describes its pass as a list of steps over buffers; a buffer is any hashable object that stands for some
bytes. From these come the lifetime of each buffer, which buffers can be recomputed after the pass and may therefore be
overwritten, what recomputing reads, and which steps recompute a buffer.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, TypeVar

from dragon.engines.lifetimes.placing import Lifetime

__all__ = ["Step", "StepGraph"]

B = TypeVar("B", bound=Hashable)


@dataclass(frozen=True)
class Step(Generic[B]):
    """The buffers that a step reads from before it and those that it writes; one that works in place stands in both."""

    reads: Collection[B] = ()
    writes: Collection[B] = ()


class StepGraph(Generic[B]):
    """The steps of a pass, which are numbered from 0.

    pinned: buffers that keep memory of their own and cannot be recomputed, whatever the steps say: host memory, what
    Python code sees as an array. replaced: buffers whose value may change during the pass by something else than a
    step. recomputable: buffers whose final value can be computed again after the pass from buffers that still have
    the value that they had in it.
    """

    def __init__(
        self, steps: Sequence[Step[B]], pinned: AbstractSet[B], replaced: AbstractSet[B] = frozenset()
    ) -> None:
        self.steps = steps
        self._reads: dict[B, list[int]] = {}
        self._writes: dict[B, list[int]] = {}
        for number, step in enumerate(steps):
            for buffer in step.reads:
                self._reads.setdefault(buffer, []).append(number)
            for buffer in step.writes:
                self._writes.setdefault(buffer, []).append(number)
        self._replaced = replaced
        self.recomputable = self._find_recomputable(pinned)

    @property
    def written(self) -> Collection[B]:
        """The buffers that some step writes, by their first write."""
        return self._writes.keys()

    def lifetime(self, buffer: B, size: int) -> Lifetime:
        """The lifetime of a written buffer of `size` bytes: from its first write to its last use."""
        writes = self._writes[buffer]
        return Lifetime(writes[0], max(writes[-1], *self._reads.get(buffer, writes)), size)

    def _is_fresh(self, buffer: B) -> bool:
        """Whether the buffer is written before it is read: nothing from before the pass is in it."""
        first = self._writes[buffer][0]
        return all(first < number for number in self._reads.get(buffer, ()))

    def _find_recomputable(self, pinned: AbstractSet[B]) -> frozenset[B]:
        """Start from all that is written anew, and drop what a step writes that cannot be repeated, until all fits."""
        found = {buffer for buffer in self._writes if buffer not in pinned and self._is_fresh(buffer)}
        while True:
            lost = {
                buffer
                for number, step in enumerate(self.steps)
                if not self._can_repeat(number, found)
                for buffer in step.writes
            }
            if not lost & found:
                return frozenset(found)
            found -= lost

    def _can_repeat(self, number: int, recomputable: AbstractSet[B]) -> bool:
        """Whether a step, run again after the pass, changes nothing that is not recomputed, and reads what it has read.

        A buffer that is not recomputed has the value of the end of the pass: no step from this one on may write it.
        """
        step = self.steps[number]
        return all(buffer in recomputable for buffer in step.writes) and not any(
            buffer in self._replaced
            or (buffer not in recomputable and buffer in self._writes and self._writes[buffer][-1] >= number)
            for buffer in step.reads
        )

    @property
    def repeatable(self) -> list[int]:
        """The steps that write recomputable buffers."""
        return [n for n, step in enumerate(self.steps) if step.writes and self.recomputable.issuperset(step.writes)]

    @property
    def sources(self) -> set[B]:
        """The buffers that recomputing starts from: those that repeatable steps read and that are not recomputable."""
        return {buffer for n in self.repeatable for buffer in self.steps[n].reads} - self.recomputable

    def steps_before(self, buffer: B, number: int) -> list[int]:
        """The steps, in order, that compute the value which a recomputable buffer has just before step `number`.

        What they write besides has its value at that step, too, not its final one.
        """
        steps: set[int] = set()
        found = {buffer}
        todo = [buffer]
        while todo:
            for writer in self._writes[todo.pop()]:
                if writer >= number or writer in steps:
                    continue
                steps.add(writer)
                step = self.steps[writer]
                for other in (*(read for read in step.reads if read in self.recomputable), *step.writes):
                    if other not in found:
                        found.add(other)
                        todo.append(other)
        return sorted(steps)

    def steps_to(self, buffer: B, present: AbstractSet[B] = frozenset()) -> list[int]:
        """The steps, in order, that compute the final value of a recomputable buffer.

        Whatever else they write gets its final value as well, so all steps that write it are among them.
        present: buffers that hold their final value, which steps after their last write read as it is.
        """
        steps: set[int] = set()
        found = {buffer}
        todo = [buffer]
        while todo:
            for number in self._writes[todo.pop()]:
                if number in steps:
                    continue
                steps.add(number)
                step = self.steps[number]
                reads = [b for b in step.reads if b in self.recomputable]
                lacking = [b for b in reads if b not in present or self._writes[b][-1] >= number]
                for other in (*lacking, *step.writes):
                    if other not in found:
                        found.add(other)
                        todo.append(other)
        return sorted(steps)
