"""A program of a TEST plan that decides before it runs what only parameters and inputs decide.

Python between two primitives costs more than it takes by itself, as each makes the other's code and data leave the
caches: 10 % of SqueezeNet's pass. So whether parameters have changed is asked once for all layers. Bounds are computed
before the first primitive, and only when weights or a larger input ask for it. Which copies are newest is noted at the
end, for storages that somebody has used since the last run. While all bounds hold, the primitives that need them run
without a look at them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
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

_EARLY, _LATE, _LAST = 1e14, 1e22, 1e27  # bounds of values inside a net; one layer makes them 10 to 100 times larger
_SIZES = 4  # that are tried


class SettledProgram(Program):
    """The steps of consecutive groups.

    before: as of Program, a program whose bounds are known when this one runs. whole: whether these are all groups, so
    that nothing is measured where none of them needs a bound.
    """

    def __init__(self, parts: Sequence[Steps], before: Program | None = None, whole: bool = False) -> None:
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
        self._needed = list({id(bound): bound for bound in map(_bound_of, self._steps) if bound is not None}.values())
        if whole and not self._needed:
            self._inputs = []
            self._steps = [step for step in self._steps if not isinstance(step, Measured)]
        self._inside = [step for step in self._steps if isinstance(step, Measured)]
        self._fast = [_fast(step) for step in self._steps]
        self._chosen: list[tuple[int, Callable[[], Any]]] = []  # what runs while all bounds hold, by number
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

    def forget_bounds(self) -> None:
        """Compute all bounds in the next run: another program, which shares some of them, has run since the last."""
        self._known = False

    def _run(self) -> None:
        if not self._holds:
            self._run_from(0)
            return
        for i, run in self._chosen:
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
        again = [measured for measured in self._inputs if measured()]
        if self._known and self._holds and not again:
            return
        for measured in self._inputs if not self._holds else again:
            measured.measure()
        self._bound_again()

    def _bound_again(self) -> None:
        for measured in (*self._inputs, *self._inside):
            measured.assume()
        if not (self._holds and self._all_hold()) and self._all_hold(_everything):
            self._choose()
        self._known = True
        self._chosen = [
            (i, run)
            for i, (run, step) in enumerate(zip(self._fast, self._steps, strict=True))
            if not isinstance(step, Measured) or step.needed
        ]

    def _choose(self) -> None:
        """Measure what shows at the least cost that all bounds hold."""
        choices = [*self._choices(), _everything]
        costs = {i: self._cost() for i, above in enumerate(choices) if self._all_hold(above)}
        self._all_hold(choices[min(costs, key=lambda i: costs[i])])

    def _choices(self) -> list[Callable[[Measured], float]]:
        """Ways to say above which bound a value inside the net is measured.

        The first ones measure where a net can be cut in two, since others would keep their large bounds. A bound of a
        large value may grow more than one of a small value, which is measured in less time.
        """
        sizes = sorted({measured.cost for measured in self._inside if measured.cut})
        tried = sizes[:: -(-len(sizes) // _SIZES) or 1]
        return [
            *(partial(_limit, smallest, late) for late in (_LAST, _LATE) for smallest in tried),
            lambda measured: _LATE,
            lambda measured: _EARLY,
        ]

    def _cost(self) -> int:
        return sum(measured.cost for measured in self._inside if measured.needed)

    def _all_hold(self, above: Callable[[Measured], float] | None = None) -> bool:
        """Compute all bounds; whether they hold. above: as of `_choices`; by default, as before."""
        if above is not None:
            for measured in self._inside:
                measured.above = above(measured)
        self._compute_bounds()
        self._holds = all(bound.holds() for bound in self._needed)
        return self._holds

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
            if not isinstance(step, Measured):
                step()
            elif step.needed:
                step.measure()
                self._compute_bounds()


def _everything(measured: Measured) -> float:
    return 0.0


def _limit(smallest: int, late: float, measured: Measured) -> float:
    """`late` for the values of `smallest` cost or more at which the net can be cut, earlier for smaller ones."""
    if not measured.cut:
        return math.inf
    return _EARLY if measured.cost < smallest else late


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
