"""RangeRunner: runs ranges of layers, as graphs where possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.engines.base import is_watched, watched
from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.division import Division
from dragon.engines.cuda.plan.plan import Group
from dragon.engines.cuda.plan.plans import Plans
from dragon.engines.cuda.plan.running import GroupRunner
from dragon.engines.cuda.plan.segments import Segment

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["RangeRunner"]


class RangeRunner:
    """Runs ranges of layers forward or backward."""

    def __init__(
        self, net: Net, gpu: Gpu, arrays: Arrays, plans: Plans, division: Division, runner: GroupRunner
    ) -> None:
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._plans = plans
        self._division = division
        self._runner = runner

    def run(self, way: str, start: int, end: int) -> None:
        """Run layers start..end (start <= end) forward or backward, as `way` says. The GPU must be active."""
        if way == "forward" and self._plans.is_outdated and not is_watched(self._net):
            self._plans.settle(start, end)
        for group in self._division.take_apart(self._plans.current, start, end, way):
            self._runner.take_apart(group)
        if is_watched(self._net):
            groups = self._division.groups(self._plans.current, start, end, way)
            for group in groups if way == "forward" else reversed(groups):
                self._watched(way, group)
            return
        for segment in self._divide(way, start, end):
            resume = segment.run()
            if resume is not None and way == "forward":
                if resume <= end:
                    self.run(way, resume, end)
                break

    def _watched(self, way: str, group: Group) -> None:
        with watched(self._net, way.capitalize(), group.first):
            self._arrays.begin()
            if way == "forward":
                self._runner.forward(group)
            elif group.nodes[0].need_backward:
                self._runner.backward(group)
            self._arrays.end()

    def _divide(self, way: str, start: int, end: int) -> list[Segment]:
        """The segments of a range: consecutive groups that can be captured together, and each other group alone."""
        plan = self._plans.current
        if way == "forward":
            groups = self._division.groups(plan, start, end, way)
        else:
            groups = self._division.backward_groups(plan, start, end)
        known = plan.graphs.segments.get((way, start, end))
        if known is not None and [g for s in known for g in s.groups] == groups:
            return known
        segments = plan.graphs.segments[way, start, end] = []
        for group in groups:
            if segments and segments[-1].takes(group):
                segments[-1].groups.append(group)
            else:
                segments.append(Segment(self._net, self._gpu, self._arrays, self._runner, way, group))
        return segments
