"""Plan: a net compiled, for its present shapes and phases, into lists of prepared steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from dragon.engines.base import memory_of
from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn import lowerings
from dragon.engines.onednn.library.binding import UnimplementedError
from dragon.engines.onednn.library.constants import MAX_NDIMS, DataType
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.plan import reference
from dragon.engines.onednn.plan.arena import Arena, ArenaMemory
from dragon.engines.onednn.plan.builder import Builder, Materialize
from dragon.engines.onednn.plan.fusion import find_groups
from dragon.engines.onednn.plan.program import Program
from dragon.engines.onednn.plan.settled import SettledProgram
from dragon.engines.onednn.plan.steps import Backward, Group, NotLoweredError, Steps
from dragon.engines.onednn.plan.together import Together
from dragon.engines.onednn.plan.values import Value

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.node import Node

__all__ = ["Plan"]

log = logging.getLogger("dragon")


class Plan:
    """Groups of layers with their steps.

    fuse: whether several layers may become one group. whole: whether the plan is for full passes, so that conversions
    made for one group may serve another; otherwise any range of layers can be run by itself. winograd: whether
    convolutions may take fewer products. ranges: of what layers read that run in int8, by their names. last: the last
    layer of the plan; all layers by default.
    """

    def __init__(
        self,
        net: Net,
        device: Device,
        dtype: DataType,
        *,
        training: bool,
        fuse: bool,
        winograd: bool,
        whole: bool,
        verbose: bool = False,
        materialize: Materialize,
        arena_memory: ArenaMemory,
        ranges: Mapping[str, Range],
        last: int | None = None,
        sums_in_place: bool = True,
    ) -> None:
        self.net = net
        self.last = len(net.nodes) - 1 if last is None else last
        self.training = training
        self.whole = whole
        self._notice = log.info if verbose and whole else log.debug
        self.builder = Builder(net, device, dtype, training, whole, winograd, materialize, ranges, sums_in_place)
        self.groups: list[Group] = []
        for layers in find_groups(net, training, rearrange=not ranges) if fuse else _single(self.last):
            with memory_of(net.nodes[layers.first].layer.where):
                self.groups += self._forward(layers)
        self._intact = {
            group.first: [self.builder.unchanged_check(blob) for blob in group.watched]
            for group in self.groups
            if training and group.watched
        }
        if training:
            for group in reversed(self.groups):
                with memory_of(net.nodes[group.first].layer.where):
                    self._backward(group)
        self.builder.share_scratchpad()
        self.arena = self._arena(arena_memory)
        self._alone: dict[int, Program] = {}
        self._changed: set[int] = set()  # first layers of groups
        self.parameters = [(blob, blob.data_storage) for node in net.nodes for blob in node.layer.blobs]
        self._programs: dict[tuple[int, ...], Program] = {}
        self._settled: dict[tuple[int, int], SettledProgram] = {}  # of passes that use the arena
        self._latest: SettledProgram | None = None  # that has run
        self._group_of = [g for g in self.groups for _ in range(g.first, g.last + 1)]
        self.losses = [node for node in net.nodes if node.makes_loss]

    # -- compiling ------------------------------------------------------------------------------------------
    def _forward(self, layers: Together) -> list[Group]:
        builder, first, last, fused = self.builder, layers.first, layers.last, layers.lowering
        group = Group(first, last)
        node, *others = self.net.nodes[first : last + 1]
        layer = node.layer
        builder.watched, builder.last = group.watched, last
        if fused is None and reference.is_free(node):
            group.note = "passes memory on"
            group.build_backward = self._free_backward(node) if self.training else None
            return [group]
        lowering = fused or lowerings.find(layer.type)
        if lowering is not None and _has_primitives(node):
            state = builder.checkpoint()
            builder.steps, builder.remark = group.forward, ""
            try:
                backward = lowering(builder, node)
            except (NotLoweredError, UnimplementedError) as error:
                self._notice("%s: not as one primitive: %s", layer.where, error)
                builder.rollback(state)
                if first != last:
                    parts = layers.parts or _single(last, first)
                    return [group for part in parts for group in self._forward(part)]
                group = Group(first, last)
            else:
                group.build_backward = backward if self.training else None
                if others:
                    group.watched += [top for each in (node, *others) for top in each.tops]
                together = [f"with {', '.join(each.name for each in others)}"] if others else []
                group.note = ", ".join(["onednn", *together, *filter(None, [builder.remark])])
                return [group]
        if lowering is not None and layer.dtype.itemsize != 4:
            self._notice("%s runs its reference: %s", layer.where, layer.dtype)
        group.note = "reference"
        builder.steps = group.forward
        reference.add_forward(builder, node)
        if self.training:
            group.build_backward = lambda: reference.add_backward(builder, node)
        return [group]

    def _free_backward(self, node: Node) -> Backward | None:
        """Backward of a layer whose top is its bottom's memory: none where the diff is shared as well."""
        builder, bottoms, tops = self.builder, node.bottoms, node.tops
        if not tops and bottoms:  # Silence: the gradients of its bottoms are 0
            return lambda: reference.add_backward(builder, node)
        if not bottoms or all(top.diff_storage is bottoms[0].diff_storage for top in tops):
            return None
        lowering = lowerings.find(node.layer.type)
        if lowering is not None and _has_primitives(node):
            return lowering(builder, node)
        return lambda: reference.add_backward(builder, node)

    def _backward(self, group: Group) -> None:
        nodes = self.net.nodes[group.first : group.last + 1]
        if any(node.need_backward for node in nodes) and group.build_backward is not None:
            group.backward = self._steps(group.build_backward, nodes[0] if len(nodes) == 1 else None)

    def _steps(self, build: Backward, alone: Node | None) -> Steps:
        """The steps that `build` makes, or the reference backward of layer `alone` where oneDNN cannot do it."""
        builder = self.builder
        state = builder.checkpoint()
        builder.steps = Steps()
        try:
            build()
        except (NotLoweredError, UnimplementedError) as error:
            if alone is None:
                raise
            self._notice("%s runs its reference backward: %s", alone.layer.where, error)
            builder.rollback(state)
            builder.steps = Steps()
            reference.add_backward(builder, alone)
        return builder.steps

    def _arena(self, memory: ArenaMemory) -> Arena | None:
        """The arena of a whole TEST plan. A net with Python layers has none: they may read any blob while it runs."""
        net, builder = self.net, self.builder
        if self.training or not self.whole or any(node.layer.runs_user_code for node in net.nodes):
            return None
        for value in builder.values:
            value.refresh.clear()  # all steps run in each pass; in between another value may have their memory
        outputs = [net.blobs[name].data_storage for name in net.outputs]
        return Arena(memory, self.groups, builder.values, builder.lazies, outputs, builder.sources)

    # -- running --------------------------------------------------------------------------------------------
    @property
    def valid(self) -> bool:
        """Whether all storages still have the memory that this plan was made with."""
        return all(value.valid for value in self.builder.values) and all(
            storage.copy_at(place) is not None for storage, place in self.builder.lazies
        )

    def forward(self, start: int, end: int) -> None:
        """Run layers start..end forward; both must be at the edges of groups."""
        self._changed = {first for first in self._changed if not start <= first <= end}
        if self.arena is None:
            self._run((start, end), lambda: [g.forward for g in self._range(start, end)])
            return
        program = self._settled.get((start, end)) or self._part(start, end)
        if program is not self._latest:
            program.forget_bounds()
            self._latest = program
        if start == 0:
            self.arena.begin()
        try:
            program.run()
        except BaseException:
            self.arena.end(complete=False)
            raise
        if end == len(self._group_of) - 1:
            self.arena.end(complete=True)

    def _part(self, start: int, end: int) -> SettledProgram:
        """A part of a pass that uses the arena; the parts before it have run."""
        before = Program([g.forward for g in self._range(0, start - 1)])
        whole = start == 0 and end == len(self._group_of) - 1
        program = SettledProgram([g.forward for g in self._range(start, end)], before, whole)
        self._settled[start, end] = program
        return program

    def backward(self, start: int, end: int) -> None:
        """Run layers start down to end backward, as whole groups."""
        self._run((start, end, -1), lambda: [g.backward for g in reversed(list(self._range(end, start)))])

    def backward_part(self, start: int, end: int) -> None:
        """Run layers start down to end backward in a full pass whose parts before have run: the calls of one pass."""
        program = self._programs.get((start, end, -2))
        if program is None:
            steps = [(g, g.backward) for g in reversed(self.groups)]
            before = Program([backward for g, backward in steps if g.first > start])
            program = Program([backward for g, backward in steps if end <= g.first and g.last <= start], before)
            self._programs[start, end, -2] = program
        program.run()

    def backward_alone(self, layer: int, whole: bool) -> None:
        """Run backward of one layer, or of its `whole` group, in steps that use no memory of other groups."""
        group = self._group_of[layer]
        key = group.first - len(self.net.nodes) if whole else layer
        program = self._alone.get(key)
        if program is None:
            program = self._alone[key] = Program([self._steps_alone(layer, group, whole)])
        program.run()

    def _steps_alone(self, layer: int, group: Group, whole: bool) -> Steps:
        whole = whole or group.first == group.last
        members = self.net.nodes[group.first : group.last + 1] if whole else [self.net.nodes[layer]]
        build = group.build_backward if whole else self.builder.parts[layer]
        if build is None or not any(node.need_backward for node in members):
            return Steps()
        with self.builder.apart():
            return self._steps(build, members[0] if group.first == group.last else None)

    def note_changes(self) -> None:
        """Note the fused groups that have a blob which somebody has changed since forward."""
        for first, checks in self._intact.items():
            if first not in self._changed and not all(check() for check in checks):
                self._changed.add(first)

    @property
    def changed(self) -> bool:
        """Whether a fused group's blobs were changed since forward, which its backward would not see."""
        return bool(self._changed)

    def is_changed(self, group: Group) -> bool:
        """Whether `note_changes` found a change in a group."""
        return group.first in self._changed

    def group_of(self, layer: int) -> Group:
        """The group that a layer belongs to."""
        return self._group_of[layer]

    def _range(self, first: int, last: int) -> Iterator[Group]:
        return (g for g in self.groups if first <= g.first and g.last <= last)

    def _run(self, key: tuple[int, ...], parts: Callable[[], Sequence[Steps]]) -> None:
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = Program(parts())
        program.run()

    def detach(self) -> None:
        """Save the values that only this plan's memories have, and remove its copies from the storages."""
        for value in self.builder.values:
            if isinstance(value, Value):
                value.storage.detach(value.place)
        for storage, place in self.builder.lazies:
            storage.detach(place)


def _single(last: int, first: int = 0) -> list[Together]:
    return [Together(i, i) for i in range(first, last + 1)]


def _has_primitives(node: Node) -> bool:
    """Whether oneDNN may compute the layer: the reference has float64, blobs without elements or with many axes."""
    blobs = (*node.bottoms, *node.tops, *node.layer.blobs)
    return node.layer.dtype.itemsize == 4 and all(blob.count and blob.ndim <= MAX_NDIMS for blob in blobs)
