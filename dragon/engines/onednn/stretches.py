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
    """Whole groups of one plan, layers `start` down to `end`. alone: by steps that read all from the storages."""

    plan: Plan
    start: int
    end: int
    alone: bool

    def run(self) -> None:
        """Run the layers backward."""
        if self.alone:
            self.plan.backward_alone(self.start, whole=True)
        else:
            self.plan.backward(self.start, self.end)


def find_stretches(
    nodes: Sequence[Node], ran: Sequence[Plan | None], changers: Collection[int]
) -> list[Stretch] | None:
    """The stretches of a backward pass over all layers; None where it has to go layer by layer.

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
    return found if apart and all(s.start == s.end for s in found if s.alone) else None
