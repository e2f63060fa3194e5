"""Which gradients of parameters need not be cleared, since the first launch that would add to them writes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.engines.cuda.plan.plan import Group

__all__ = ["Started", "first_writers"]

Started = dict[int, frozenset[Storage]]  # gradients, by the first layer of the group that writes them


def first_writers(backward: Sequence[Group], gradients: Collection[Storage]) -> Started:
    """The gradients that each group of a backward pass writes instead of adding to them.

    A gradient that a group without such kernels adds to first is not among them, nor is one that nobody adds to.
    """
    missing, found = set(gradients), Started()
    for group in backward:
        of_group = {blob.diff_storage for node in group.nodes for blob in node.layer.blobs}
        if group.lowering is not None and not group.runs_array_code and not any(node.is_empty for node in group.nodes):
            written = {blob.diff_storage for blob in group.lowering.learned()} & missing
            if written:
                found[group.first] = frozenset(written)
        missing -= of_group
    return found
