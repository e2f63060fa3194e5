"""Division: which layers of a range run as one group, and which groups the last forward ran as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragon.engines.base import is_watched
from dragon.engines.cuda.plan.plan import Group, Plan

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Division"]


class Division:
    """Divides ranges of layers into groups. Backward uses the groups of the last forward."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._fused: set[int] = set()  # first layers of groups whose last forward ran as one
        self._last: tuple[Any, ...] = ()  # arguments and result of `groups` for the last forward

    def take_apart(self, plan: Plan, start: int, end: int, way: str) -> list[Group]:
        """The groups that ran forward as one but whose layers must now run one by one.

        Only a part of such a group lies in start..end, or hooks watch a backward. It counts as separate from now on.
        """
        hooked = way == "backward" and is_watched(self._net, way)
        found = []
        for first in sorted(self._fused):
            group = plan.whole.get(first)
            if group is None or group.last < start or end < first:
                continue
            if hooked or first < start or end < group.last:
                self._fused.discard(first)
                self._last = ()
                found.append(group)
        return found

    def groups(self, plan: Plan, start: int, end: int, way: str) -> list[Group]:
        """The groups of layers start..end. A group of several layers must lie inside, and no hook may watch it."""
        watched, groups, index = is_watched(self._net, way), list[Group](), start
        key = plan, start, end, watched
        if way == "forward" and self._last and self._last[0] == key:
            return list(self._last[1])
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
        if way == "forward":
            self._last = key, tuple(groups)
        return groups

    def backward_groups(self, plan: Plan, start: int, end: int) -> list[Group]:
        """The groups of layers start..end that run backward, the last one first."""
        return [group for group in reversed(self.groups(plan, start, end, "backward")) if group.need_backward]
