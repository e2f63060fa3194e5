"""Which layers of a range run as one group, and what ran so last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.engines.base import is_watched
from dragon.engines.cuda.plan.plan import Group, Plan

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Division"]


class Division:
    """Backward follows the groups of the last forward: this remembers them."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._fused: set[int] = set()  # first layers of groups whose last forward ran as one

    def take_apart(self, plan: Plan, start: int, end: int, way: str) -> list[Group]:
        """Groups whose last forward ran as one and whose layers must now run one by one: a part of them lies in
        start..end, or somebody looks at the layers of a backward. They count as separate from now on.
        """
        looked_at = way == "backward" and is_watched(self._net, way)
        found = []
        for first in sorted(self._fused):
            group = plan.whole.get(first)
            if group is None or group.last < start or end < first:
                continue
            if looked_at or first < start or end < group.last:
                self._fused.discard(first)
                found.append(group)
        return found

    def groups(self, plan: Plan, start: int, end: int, way: str) -> list[Group]:
        """The groups of layers start..end: as one only where all of a group lies inside and nobody looks in."""
        watched, groups, index = is_watched(self._net, way), [], start
        while index <= end:
            whole = plan.whole.get(index)
            group = plan.single(index)
            if whole is not None and whole.last > index:
                if way == "forward":
                    as_one = whole.last <= end and not watched
                    (self._fused.add if as_one else self._fused.discard)(index)
                if index in self._fused:
                    group = whole
            groups.append(group)
            index = group.last + 1
        return groups

    def backward_groups(self, plan: Plan, start: int, end: int) -> list[Group]:
        """The groups of layers start..end that have something to do backward, the last one first."""
        return [group for group in reversed(self.groups(plan, start, end, "backward")) if group.need_backward]
