"""The lifetimes of a plan's blobs in TEST, in groups, and which of them may share memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from dragon.engines.cuda.plan.plan import Group
from dragon.engines.cuda.plan.types import Types
from dragon.engines.lifetimes.placing import Lifetime, Placement
from dragon.engines.lifetimes.steps import Step, StepGraph
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["BLOCK", "BlobLifetimes", "planned_bytes"]

BLOCK = 256  # bytes: where arrays begin in CuPy's memory as well


class BlobLifetimes(StepGraph[Storage]):
    """The groups of a forward pass as steps, and the storages that they read and write as buffers.

    outputs: recomputable storages that somebody reads after each run: net outputs and losses.
    """

    def __init__(self, net: Net, groups: Sequence[Group], types: Types | None = None) -> None:
        types = types or Types(net, None)
        self.groups = list(groups)
        steps = [_step(group) for group in self.groups]
        self._sizes = {s: s.count * types.of(s).itemsize for step in steps for s in step.writes}
        pinned = {storage for storage, size in self._sizes.items() if not size}
        for group, step in zip(self.groups, steps, strict=True):
            if group.on_host or group.layer.is_source:
                pinned.update(step.reads, step.writes)
        super().__init__(steps, pinned)
        read_later = {net.blobs[name].data_storage for name in net.outputs}
        for node in net.nodes:
            read_later |= {t.data_storage for t, weight in zip(node.tops, node.loss_weights, strict=False) if weight}
        self.outputs = self.recomputable & read_later

    def padded_lifetime(self, storage: Storage) -> Lifetime:
        """The groups from the first write to the last use of a storage, and its size in whole blocks."""
        return self.lifetime(storage, -(-self._sizes[storage] // BLOCK) * BLOCK)

    def in_arena(self, own: Collection[Storage] = ()) -> dict[Storage, Lifetime]:
        """The storages that share one arena: the recomputable ones but for the outputs and `own`."""
        return {
            storage: self.padded_lifetime(storage)
            for storage in self.written
            if storage in self.recomputable and storage not in self.outputs and storage not in own
        }

    def most_at(self, lifetimes: Iterable[Lifetime]) -> int:
        """The step at which most bytes are in use."""
        known = list(lifetimes)
        return max(
            range(len(self.groups)),
            key=lambda step: sum(one.padded for one in known if one.start <= step <= one.end),
            default=0,
        )


def _step(group: Group) -> Step[Storage]:
    """What a group reads, learned blobs included, and what it writes."""
    reads: dict[Storage, None] = {}
    writes: dict[Storage, None] = {}
    for node in group.nodes:
        bottoms = (blob.data_storage for blob in (*node.bottoms, *node.layer.blobs))
        reads.update(dict.fromkeys(storage for storage in bottoms if storage not in writes))
        writes.update(dict.fromkeys(top.data_storage for top in node.tops))
    return Step(reads.keys(), writes.keys())


def planned_bytes(net: Net, groups: Sequence[Group], types: Types | None = None) -> tuple[int, int, int]:
    """Bytes of all tops: without sharing, with sharing, and the most that are in use at a time."""
    blobs = BlobLifetimes(net, groups, types)
    apart = sum(blobs.padded_lifetime(storage).padded for storage in blobs.written)
    placement = Placement(blobs.in_arena())
    others = apart - placement.unshared
    return apart, others + placement.size, others + placement.peak
