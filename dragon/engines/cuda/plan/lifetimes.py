"""The lifetimes of a plan's blobs, in groups, and which of them may share memory.

In TEST the pass is a whole forward. In TRAIN it is a forward and the backward behind it: a blob's data lives until the
last layer has used it, in either direction, and its diff from the backward of the layer above to that of the layer
below.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from dragon.engines.cuda.plan.layouts import Layouts
from dragon.engines.cuda.plan.plan import Group
from dragon.engines.cuda.plan.touched import touched_by
from dragon.engines.cuda.plan.types import Types
from dragon.engines.lifetimes.placing import Lifetime, Placement
from dragon.engines.lifetimes.steps import Step, StepGraph
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = [
    "BLOCK",
    "WORTH_SHARING",
    "BlobLifetimes",
    "learned_storages",
    "planned_bytes",
    "planned_step_bytes",
    "saved_bytes",
    "shares_in_training",
    "twins_in_training",
]

BLOCK = 256  # bytes: where arrays begin in CuPy's memory as well
WORTH_SHARING = 1 << 26  # bytes that a training pass has to save: it needs a copy of the parameters, each time


class BlobLifetimes(StepGraph[Storage]):
    """The groups of a pass as steps, and the storages that they read and write as buffers.

    groups: of each step. backward: the groups that go back behind the forward, the last one first; None for a forward
    in TEST. All groups of a pass with a backward must have lowerings without array code, but for sources.
    forwards: the number of steps that go forward. trains: whether there is a backward. outputs: recomputable storages
    that somebody reads after each run: net outputs and losses. layouts: of the storages; None: all have one.
    """

    def __init__(
        self, net: Net, groups: Sequence[Group], types: Types | None = None, backward: Sequence[Group] | None = None,
        layouts: Layouts | None = None,
    ) -> None:  # fmt: skip
        types = types or Types(net, None)
        self._types, self._layouts = types, layouts
        self.groups = [*groups, *(backward or ())]
        self.forwards, self.trains = len(groups), backward is not None
        steps = [_step(group) for group in groups] if backward is None else _steps(groups, backward, types)
        self._sizes = {s: s.count * types.of(s).itemsize for step in steps for s in step.writes}
        pinned = {storage for storage, size in self._sizes.items() if not size}
        for group, step in zip(groups, steps, strict=False):
            if group.on_host or group.layer.is_source:
                pinned.update(step.reads, step.writes)
        if backward is not None:
            pinned |= learned_storages(net)
            pinned |= {top.diff_storage for node in net.nodes if node.makes_loss for top in node.tops}
        super().__init__(steps, pinned)
        read_later = {net.blobs[name].data_storage for name in net.outputs}
        for node in net.nodes:
            read_later |= {t.data_storage for t, weight in zip(node.tops, node.loss_weights, strict=False) if weight}
        self.outputs = self.recomputable & read_later

    def padded_lifetime(self, storage: Storage) -> Lifetime:
        """The steps from the first write to the last use of a storage, and its size in whole blocks."""
        return self.lifetime(storage, -(-self._sizes[storage] // BLOCK) * BLOCK)

    def in_arena(self, own: Collection[Storage] = ()) -> dict[Storage, Lifetime]:
        """The storages with a place of their own in the arena: those that share it, without `twins`."""
        found = {storage: self.padded_lifetime(storage) for storage in self._sharing(own)}
        for twin, storage in self.twins(own).items():
            one, other = found[storage], found.pop(twin)
            found[storage] = Lifetime(min(one.start, other.start), max(one.end, other.end), one.size)
        return found

    def twins(self, own: Collection[Storage] = ()) -> dict[Storage, Storage]:
        """Gradients that share the place of another one, by the one that has it.

        They hold the same value, from a backward of `Lowering.equal_diffs` on: no step writes one of them later, and
        before it only one of them is in use. `own`: storages outside the arena.
        """
        sharing, found = set(self._sharing(own)), dict[Storage, Storage]()
        for step, group in enumerate(self.groups[self.forwards :], self.forwards):
            equal = () if group.lowering is None else group.lowering.equal_diffs()
            able = [s for s in equal if s in sharing and self._writes[s][-1] <= step]
            able.sort(key=lambda s: self._writes[s][0] == step)  # one that was in use before comes first
            for storage in able[1:]:
                if self._writes[storage][0] == step and self._form(storage) == self._form(able[0]):
                    found[storage] = able[0]
        return {storage: _last(found, storage) for storage in found}

    def apart(self, own: Collection[Storage] = ()) -> int:
        """Bytes that the storages in the arena would take apart."""
        return sum(self.padded_lifetime(storage).padded for storage in self._sharing(own))

    def _sharing(self, own: Collection[Storage]) -> list[Storage]:
        """The storages that share one arena: the recomputable ones but for the outputs and `own`."""
        return [s for s in self.written if s in self.recomputable and s not in self.outputs and s not in own]

    def _form(self, storage: Storage) -> object:
        """What two storages must have in common to be one array."""
        layout = None if self._layouts is None else self._layouts.of(storage)
        return storage.count, self._types.of(storage), layout

    def most_at(self, lifetimes: Iterable[Lifetime]) -> int:
        """The step at which most bytes are in use."""
        known = list(lifetimes)
        return max(
            range(len(self.groups)),
            key=lambda step: sum(one.padded for one in known if one.start <= step <= one.end),
            default=0,
        )


def _last(found: dict[Storage, Storage], storage: Storage) -> Storage:
    while storage in found:
        storage = found[storage]
    return storage


def _step(group: Group) -> Step[Storage]:
    """What a group reads, learned blobs included, and what it writes."""
    reads: dict[Storage, None] = {}
    writes: dict[Storage, None] = {}
    for node in group.nodes:
        bottoms = (blob.data_storage for blob in (*node.bottoms, *node.layer.blobs))
        reads.update(dict.fromkeys(storage for storage in bottoms if storage not in writes))
        writes.update(dict.fromkeys(top.data_storage for top in node.tops))
    return Step(reads.keys(), writes.keys())


def _steps(groups: Sequence[Group], backward: Sequence[Group], types: Types) -> list[Step[Storage]]:
    """The steps of a forward and a backward, by what the kernels touch: backward seldom needs all of the data."""
    touched = {id(group): touched_by(group, types) for group in (*groups, *backward)}
    steps = []
    for group in groups:
        found = touched[id(group)].forward
        made = {top.data_storage for node in group.nodes for top in node.tops}
        before = {bottom.data_storage for bottom in group.bottoms}
        steps.append(Step(found - (made - before), found & made))
    for group in backward:
        found = touched[id(group)].backward
        made = {bottom.diff_storage for node in group.nodes for bottom in node.bottoms}
        before = {top.diff_storage for top in group.tops}
        made -= before - {bottom.diff_storage for bottom in group.bottoms}
        if group.lowering is not None and group.lowering.overwrites_top_diff:
            made |= before
        steps.append(Step(found - (made - before) - _gradients(group), found & made))
    return steps


def _gradients(group: Group) -> set[Storage]:
    return {blob.diff_storage for node in group.nodes for blob in node.layer.blobs}


def learned_storages(net: Net) -> set[Storage]:
    """The storages of all blobs of layers, which may be tops as well."""
    blobs = [blob for node in net.nodes for blob in node.layer.blobs]
    return {storage for blob in blobs for storage in (blob.data_storage, blob.diff_storage)}


def planned_bytes(net: Net, groups: Sequence[Group], types: Types | None = None) -> tuple[int, int, int]:
    """Bytes of all tops in a forward: without sharing, with sharing, and the most that are in use at a time."""
    return _planned(BlobLifetimes(net, groups, types))


def planned_step_bytes(net: Net, groups: Sequence[Group], types: Types | None = None) -> tuple[int, int, int]:
    """Bytes of the data and diffs of all tops in a forward and a backward, as `planned_bytes` gives them.

    Where array code or the host computes a layer nothing is shared.
    """
    backward = [group for group in reversed(groups) if group.need_backward]
    if shares_in_training(groups):
        return _planned(BlobLifetimes(net, groups, types, backward))
    types = types or Types(net, None)
    storages = {
        s for g in groups for node in g.nodes for top in node.tops for s in (top.data_storage, top.diff_storage)
    }
    apart = sum(-(-s.count * types.of(s).itemsize // BLOCK) * BLOCK for s in storages)
    return apart, apart, apart


def saved_bytes(blobs: BlobLifetimes, own: Collection[Storage] = ()) -> int:
    """Bytes that the arena saves. own: storages outside it."""
    return blobs.apart(own) - Placement(blobs.in_arena(own)).size


def twins_in_training(net: Net, groups: Sequence[Group], types: Types, layouts: Layouts) -> dict[Storage, Storage]:
    """`BlobLifetimes.twins` of a training pass; none where blobs do not share memory in it."""
    if not shares_in_training(groups):
        return {}
    blobs = BlobLifetimes(net, groups, types, [group for group in reversed(groups) if group.need_backward], layouts)
    return blobs.twins() if saved_bytes(blobs) >= WORTH_SHARING else {}


def shares_in_training(groups: Iterable[Group]) -> bool:
    """Whether all that is computed runs by kernels, behind sources that come first, so that a pass can be repeated."""
    computing = False
    for group in groups:
        if group.layer.is_source and not (computing and (group.on_host or group.layer.gives_bytes)):
            continue
        computing = True
        if group.on_host or group.runs_array_code:
            return False
    return computing


def _planned(blobs: BlobLifetimes) -> tuple[int, int, int]:
    apart = sum(blobs.padded_lifetime(storage).padded for storage in blobs.written)
    placement = Placement(blobs.in_arena())
    others = apart - blobs.apart()
    return apart, others + placement.size, others + placement.peak
