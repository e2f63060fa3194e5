"""Times of the groups of a plan, each run by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dragon.engines.base import LayerTime, layer_times
from dragon.engines.onednn.plan.reference import ShapesChangedError
from dragon.engines.onednn.plan.replay import lend_present_parameters
from dragon.errors import EngineError

if TYPE_CHECKING:
    from dragon.engines.onednn.plan.cache import PlanCache
    from dragon.engines.onednn.plan.plan import Plan
    from dragon.engines.onednn.plan.steps import Group
    from dragon.graph.net import Net

__all__ = ["Profile", "group_notes"]

Times = list[list[float]]  # of each layer


class Profile:
    """Runs groups one after the other; a fused group's time stands at its first layer.

    settle: called before a pass. refresh: called with the first layer whose bottoms have other shapes than `plans` last
    knew.
    """

    def __init__(self, plans: PlanCache, settle: Callable[[], None], refresh: Callable[[int], None]) -> None:
        self._plans, self._settle, self._refresh = plans, settle, refresh
        self._forward: Times = [[] for _ in plans.net.nodes]
        self._backward: Times = [[] for _ in plans.net.nodes]
        self._ran: list[tuple[Plan, Group]] = []  # in the last pass

    def run(self, backward: bool, counts: bool) -> None:
        """One pass. counts: whether its times are kept."""
        self._plans.net.look_ahead()
        self._settle()
        self._ran = list(self._run_forward(counts))
        if backward:
            self._run_backward(counts)

    def _run_forward(self, counts: bool) -> Iterator[tuple[Plan, Group]]:
        needed: set[Plan] = set()
        self._plans.needed = needed
        plan = self._plans.plan(True)
        i = 0
        while i < len(self._plans.net.nodes):
            if i > self._plans.fitting:
                raise self._plans.misfit or EngineError("forward of a layer that does not take the present shapes")
            group = plan.group_of(i)
            changed = False
            with _clocked(self._forward, i, counts):
                try:
                    plan.forward(i, group.last)
                except ShapesChangedError:
                    changed = True
            yield plan, group
            needed.add(plan)
            i = group.last + 1
            if changed:  # as in any pass: the layers after it run one by one
                self._refresh(i)
                plan = self._plans.plan(False)

    def _run_backward(self, counts: bool) -> None:
        used = {id(plan): plan for plan, _ in self._ran}
        if len(used) == 1:
            for plan, group in reversed(self._ran):
                with _clocked(self._backward, group.first, counts):
                    plan.backward(group.last, group.first)
            return
        outdated = [plan for plan in used.values() if plan not in self._plans.current]
        with lend_present_parameters(outdated):
            for plan, group in reversed(self._ran):
                with _clocked(self._backward, group.first, counts):
                    plan.backward_alone(group.last, whole=True)

    @property
    def ran(self) -> list[Plan | None]:
        """For each layer the plan that ran it in the last pass."""
        return [plan for plan, group in self._ran for _ in range(group.first, group.last + 1)]

    def times(self) -> list[LayerTime]:
        """Of each layer, over the passes that counted."""
        net = self._plans.net
        return layer_times(net, self._forward, self._backward, group_notes(net, [group for _, group in self._ran]))


def group_notes(net: Net, groups: Sequence[Group]) -> list[str]:
    """One line for each layer that says how it runs."""
    notes: list[str] = []
    for group in groups:
        notes.append(group.note)
        notes += [f"in {net.nodes[group.first].name}"] * (group.last - group.first)
    return notes


@contextmanager
def _clocked(times: Times, index: int, counts: bool) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    times[index] += [(time.perf_counter() - begin) * 1e3] * counts
