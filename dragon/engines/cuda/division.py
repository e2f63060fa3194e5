"""Which layers of a range run as one group, and what ran so last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.engines.cuda.plan import Group, Plan
from dragon.errors import EngineError

if TYPE_CHECKING:
    from dragon.net import Net

__all__ = ["Division"]


class Division:
    """Backward has to follow the groups of the last forward: this remembers them."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._fused: set[int] = set()  # first layers of groups whose last forward ran as one

    def is_watched(self, way: str = "both") -> bool:
        """Whether somebody wants to see the layers one by one."""
        net = self._net
        forward = bool(net.before_forward_hooks or net.after_forward_hooks)
        backward = bool(net.before_backward_hooks or net.after_backward_hooks)
        return net.debug_info or {"forward": forward, "backward": backward, "both": forward or backward}[way]

    def groups(self, plan: Plan, start: int, end: int, way: str) -> list[Group]:
        """The groups of layers start..end: as one only where all of a group lies inside and nobody looks in."""
        watched, groups, index = self.is_watched(way), [], start
        while index <= end:
            whole = plan.whole.get(index)
            group = plan.single(index)
            if whole is not None and whole.last > index:
                if way == "forward":
                    as_one = whole.last <= end and not watched
                    (self._fused.add if as_one else self._fused.discard)(index)
                else:
                    as_one = index in self._fused
                    if as_one and whole.last > end:
                        raise self._divided(whole)
                if as_one:
                    group = whole
            elif way == "backward" and any(first < index <= plan.whole[first].last for first in self._fused):
                raise self._divided(next(g for g in plan.groups if g.first < index <= g.last))
            groups.append(group)
            index = group.last + 1
        return groups

    def backward_groups(self, plan: Plan, start: int, end: int) -> list[Group]:
        """The groups of layers start..end that have something to do backward, the last one first."""
        needs = self._net.layer_need_backward
        return [g for g in reversed(self.groups(plan, start, end, "backward")) if any(needs[g.first : g.last + 1])]

    def _divided(self, group: Group) -> EngineError:
        names = self._net.layer_names
        return EngineError(
            f'layers "{names[group.first]}" to "{names[group.last]}" ran forward as one and must run backward '
            "as one: run all of them, or switch fusing off"
        )
