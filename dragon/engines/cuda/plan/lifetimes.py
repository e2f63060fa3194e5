"""Which blobs of a plan may share memory in TEST, and from which of its groups to which each is in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dragon.engines.arena import Lifetime, place, together
from dragon.engines.cuda.plan.plan import Group
from dragon.engines.cuda.plan.types import Types
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["BLOCK", "Traffic", "planned_bytes"]

BLOCK = 256  # bytes: where arrays begin in CuPy's memory as well


@dataclass
class _Use:
    writes: list[int] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    begins: bool = False  # nothing from before the run is in it
    bytes: int = 0


class Traffic:
    """What the groups of a forward read and write. Steps are numbers of groups."""

    def __init__(self, net: Net, groups: Sequence[Group], types: Types | None = None) -> None:
        self._net = net
        self._types = types or Types(net, None)
        self.groups = list(groups)
        self._uses: dict[Storage, _Use] = {}
        self.reads: list[set[Storage]] = []  # by step
        self.writes: list[set[Storage]] = []
        for step, group in enumerate(self.groups):
            self._note(step, group)
        self.shared = self._repeatable()  # those that the groups can compute again, from what is not among them
        self.outputs = self._looked_at()  # of them, those that somebody reads after each run

    def _note(self, step: int, group: Group) -> None:
        net = self._net
        read: set[Storage] = set()
        written: set[Storage] = set()
        for i in range(group.first, group.last + 1):
            read |= {b.data_storage for b in net.bottoms[i]} - written
            for top in net.tops[i]:
                storage = top.data_storage
                use = self._uses.setdefault(storage, _Use(bytes=storage.count * self._types.of(storage).itemsize))
                if not use.writes and not use.reads:
                    use.begins = storage not in read
                written.add(storage)
        for storage in read:
            self._uses.setdefault(storage, _Use()).reads.append(step)
        for storage in written:
            self._uses[storage].writes.append(step)
        self.reads.append(read)
        self.writes.append(written)

    def _repeatable(self) -> frozenset[Storage]:
        """Storages that groups on the GPU compute from scratch. Others, such as what the host reads, stay as they are;
        what is computed from a value that another one replaces later in the run could not be computed again."""
        outside = {s for s, use in self._uses.items() if not use.begins or not use.bytes}
        for step, group in enumerate(self.groups):
            if group.on_host or self._net.layers[group.first].is_source:
                outside |= self.reads[step] | self.writes[step]
        while True:
            lost = {
                written
                for step in range(len(self.groups))
                if self.writes[step] & outside
                or any(s in outside and max(self._uses[s].writes, default=-1) >= step for s in self.reads[step])
                for written in self.writes[step]
            }
            if lost <= outside:
                return frozenset(self._uses) - outside
            outside |= lost

    def _looked_at(self) -> frozenset[Storage]:
        net = self._net
        found = {net.blobs[name].data_storage for name in net.outputs}
        for tops, layer in zip(net.tops, net.layers, strict=True):
            found |= {t.data_storage for t, weight in zip(tops, layer.loss_weights, strict=False) if weight}
        return frozenset(found & self.shared)

    def lifetime(self, storage: Storage) -> Lifetime:
        """From the first group that writes it to the last one that looks at it."""
        use = self._uses[storage]
        size = -(-use.bytes // BLOCK) * BLOCK
        return Lifetime(use.writes[0], max(*use.writes, *use.reads, use.writes[0]), size)

    def in_arena(self, own: Iterable[Storage] = ()) -> dict[Storage, Lifetime]:
        """Those that share one arena, all but the outputs and `own`."""
        return {s: self.lifetime(s) for s in self._uses if s in self.shared - self.outputs - set(own)}

    @property
    def repeatable(self) -> list[int]:
        """The steps that compute what is among `shared`."""
        return [step for step, written in enumerate(self.writes) if written and written <= self.shared]

    def sources(self) -> set[Storage]:
        """What the groups on the GPU read that is not among `shared`: layers' blobs, the host's values."""
        found: set[Storage] = set()
        for group, read in zip(self.groups, self.reads, strict=True):
            if not group.on_host and not self._net.layers[group.first].is_source:
                found |= read
                for i in range(group.first, group.last + 1):
                    found |= {blob.data_storage for blob in self._net.layers[i].blobs}
        return found - self.shared

    def leading_to(self, storage: Storage) -> list[int]:
        """The steps that compute the last value of a storage among `shared`."""
        steps: set[int] = set()
        todo = [(storage, len(self.groups))]
        while todo:
            wanted, before = todo.pop()
            for step in self._uses[wanted].writes:
                if step < before and step not in steps:
                    steps.add(step)
                    todo += [(s, step) for s in self.reads[step] if s in self.shared]
        return sorted(steps)

    def most_at(self, lifetimes: Iterable[Lifetime]) -> int:
        """The step at which most bytes are in use."""
        known = list(lifetimes)
        return max(
            range(len(self.groups)),
            key=lambda step: sum(one.padded for one in known if one.start <= step <= one.end),
            default=0,
        )


def planned_bytes(net: Net, groups: Sequence[Group], types: Types | None = None) -> tuple[int, int, int]:
    """Bytes of all tops with memory of their own; the same where those share that can; the least that could do."""
    traffic = Traffic(net, groups, types)
    apart = sum(traffic.lifetime(s).padded for s, use in traffic._uses.items() if use.writes)
    lifetimes = list(traffic.in_arena().values())
    others = apart - sum(one.padded for one in lifetimes)
    return apart, others + place(lifetimes)[1], others + together(lifetimes)
