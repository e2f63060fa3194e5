"""A program of a TEST plan that decides before it runs what only parameters and inputs decide.

Python between two primitives costs more than it takes by itself, as each makes the other's code and data leave the
caches: 10 % of SqueezeNet's pass. So whether parameters have changed is asked once for all layers. Bounds are computed
before the first primitive, and only when weights or a larger input ask for it. Which copies are newest is noted at the
end, for storages that somebody has used since the last run. While all bounds hold, the primitives that need them run
without a look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dragon.engines.onednn.library.binding import check
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.bound import Bound, Measured
from dragon.engines.onednn.plan.guarded import BoundedCall, GuardedCall
from dragon.engines.onednn.plan.program import Program
from dragon.engines.onednn.plan.steps import Step, Steps
from dragon.engines.onednn.plan.values import HostValue, Value
from dragon.memory.changes import Changes
from dragon.memory.storage import Storage, held_among

__all__ = ["SettledProgram"]


class SettledProgram(Program):
    """The steps of consecutive groups. before: as of Program, a program whose bounds are known when this one runs."""

    def __init__(self, parts: Sequence[Steps], before: Program | None = None) -> None:
        super().__init__(parts, before)
        self._values = [value for value in self.fetches if isinstance(value, HostValue)]
        self._others = [value for value in self.fetches if not isinstance(value, HostValue)]
        self._ahead = [step for steps in parts for step in steps.ahead]
        self._inputs = [measured for steps in parts for measured in steps.measured]
        self._compute = [step for steps in parts for step in steps.bounds]
        self._parameters = {storage for step in self._ahead for storage in step.storages}
        self._changes = Changes()
        for storage in (*self._parameters, *(value.storage for value in self._values)):
            self._changes.follow(storage)
        self._changed: set[Storage] = set()  # when this run began, since the one before it
        self._steps = self._with_marks(parts)
        self._inside = [step for step in self._steps if isinstance(step, Measured)]
        self._needed = list({id(bound): bound for bound in map(_bound_of, self._steps) if bound is not None}.values())
        self._fast = [_fast(step) for step in self._steps]
        self._holds = False  # whether all bounds hold, with the limits as they are
        self._known = False  # whether the bounds are those of the present weights and limits

    def run(self) -> None:
        """Bring up to date what is read, then run all steps."""
        try:
            self._settle()
            self._run()
        except BaseException:  # what was not done is done in the next run
            self._changes.look_at(self._changed)
            self._known = False
            raise

    def _run(self) -> None:
        if not self._holds:
            self._run_from(0)
            return
        for i, run in enumerate(self._fast):
            status = run()
            if status:
                self._stopped(i, status)
                return

    # -- which copies are newest ----------------------------------------------------------------------------
    def _with_marks(self, parts: Iterable[Steps]) -> list[Step]:
        """The calls of all groups, and steps that mark the copies that they made as the newest.

        These run at the end, and before each step in Python, which may read from the storages.
        """
        steps: list[Step] = []
        marks: dict[Storage, str] = {}
        for part in parts:
            for call in part.calls:
                if not isinstance(call, Call | Measured) and marks:
                    steps.append(self._marking(marks))
                    marks = {}
                steps.append(call)
            marks |= {value.storage: value.place for value in part.makes.values() if isinstance(value, Value)}
            marks |= dict(part.lazy)
        return [*steps, self._marking(marks)]

    def _marking(self, places: dict[Storage, str]) -> Step:
        """A step that marks the copies at these places, of those storages of which another copy may be the newest."""
        for storage in places:
            self._changes.follow(storage)
        known = frozenset(places)

        def mark() -> None:
            for storage in known & self._changed:
                storage.wrote(places[storage])

        return mark

    # -- before the first layer -----------------------------------------------------------------------------
    def _settle(self) -> None:
        for other in self._others:
            other.fetch()
        changed = self._changed = set(self._changes)
        if changed:
            for value in self._values:
                if value.storage in changed:
                    value.fetch()
            if not self._parameters.isdisjoint(changed):
                self._known = False
                for step in self._ahead:
                    if not changed.isdisjoint(step.storages):
                        step.check()
            self._changes.looked_at(changed)
            self._changes.look_at(held_among(changed))
        larger = [measured for measured in self._inputs if measured()]
        if self._known and self._holds and not larger:
            return
        for measured in self._inputs if not self._holds else larger:
            measured.measure()
        self._bound_again()

    def _bound_again(self) -> None:
        for measured in (*self._inputs, *self._inside):
            measured.assume()
        self._compute_bounds()
        self._known = True
        self._holds = all(bound.holds() for bound in self._needed)

    def _compute_bounds(self) -> None:
        for step in self._compute:
            step()

    # -- where bounds do not hold ---------------------------------------------------------------------------
    def _stopped(self, i: int, status: Any) -> None:
        """Step i failed; or it found a value larger than the limit that the bounds after it assume."""
        step = self._steps[i]
        if isinstance(step, Measured):
            self._known = False  # with a larger limit in the next run
            self._run_from(i)
        elif isinstance(step, Call):
            check(status, step.primitive.operation, step.primitive.layer)

    def _run_from(self, first: int) -> None:
        """Run the steps from `first` on, each with the bounds of this run."""
        if first == 0:
            for measured in self._inputs:
                measured.measure()
            self._compute_bounds()
        for step in self._steps[first:]:
            if isinstance(step, Measured):
                step.measure()
                self._compute_bounds()
            else:
                step()


def _bound_of(step: Step) -> Bound | None:
    return step.bound if isinstance(step, BoundedCall | GuardedCall) else None


def _fast(step: Step) -> Callable[[], Any]:
    """The step while all bounds hold: something true if it failed."""
    if isinstance(step, GuardedCall) and step.bound is None:
        return step
    if isinstance(step, Call):
        return step.execute
    return step if isinstance(step, Measured) else _quiet(step)


def _quiet(step: Step) -> Callable[[], None]:
    def run() -> None:
        step()

    return run
