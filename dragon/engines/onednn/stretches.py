"""Which layers each plan takes backward, where layers that changed shapes have handed a pass from plan to plan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from dragon.engines.onednn.plan.plan import Plan

if TYPE_CHECKING:
    from dragon.graph.node import Node

__all__ = ["Stretch", "find_stretches"]


@dataclass(slots=True)
class Stretch:
    """Whole groups of one plan, layers `start` down to `end`. alone: by steps that read all from the storages.

    whole: whether these are all layers of the net that have a backward.
    """

    plan: Plan
    start: int
    end: int
    alone: bool
    whole: bool = False

    def run(self, end: int) -> None:
        """Run the layers from `start` down to `end` backward."""
        if self.alone:
            self.plan.backward_alone(self.start, whole=True)
        elif self.whole:
            self.plan.backward_part(self.start, end)
        else:
            self.plan.backward(self.start, end)


def find_stretches(
    nodes: Sequence[Node], ran: Sequence[Plan | None], changers: Collection[int]
) -> list[Stretch] | None:
    """The stretches of a backward pass over all layers, from the last down; None where it has to go layer by layer.

    ran: the plan that ran each layer forward. changers: layers that gave other shapes than their plan was made for;
    they go alone, since the gradients of their tops have those shapes. Layers without a backward may have been run by
    any plan.
    """
    found: list[Stretch] = []
    for node in reversed(nodes):
        plan = ran[node.index]
        if not node.need_backward:
            continue
        if plan is None or plan.changed:
            return None
        group, alone = plan.group_of(node.index), node.index in changers
        if found and found[-1].plan is plan and not found[-1].alone and not alone:
            found[-1].end = group.first
        else:
            found.append(Stretch(plan, group.last, group.first, alone))
    apart = all(above.end > below.start for above, below in pairwise(found))
    if not apart or any(stretch.start != stretch.end for stretch in found if stretch.alone):
        return None
    if len(found) == 1:
        found[0].whole = True
    return found


def run_down_to(stretches: list[Stretch], end: int) -> None:
    """Run stretches backward down to the group of layer `end`; what has run is taken off the list."""
    while stretches and stretches[0].start >= end:
        first = stretches[0]
        stop = first.plan.group_of(end).first if end > first.end else first.end
        first.run(stop)
        if stop == first.end:
            del stretches[0]
        else:
            first.start = stop - 1
