"""The plans of a net, kept for the shapes that it has had lately."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dragon.engines.base import Options
from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.plan.arena import ArenaMemory
from dragon.engines.onednn.plan.builder import Materialize
from dragon.engines.onednn.plan.plan import Plan
from dragon.engines.onednn.plan.planned import Planned
from dragon.errors import DragonError
from dragon.memory.collecting import without_collecting

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["PlanCache"]

_KEPT_SHAPES = 8
_KEPT, _KEPT_BYTES = 4, 1 << 30  # so many plans are kept whatever they take, more if all of them take at most this
_GARBAGE = 1 << 28  # bytes of given-up plans, which lie in cycles of references, at which the collector is called


class PlanCache:
    """Two plans, the whole and the single one, for each combination of shapes, phases and parameter memory.

    training: whether the plans that are made now can run backward. fitting: the last layer that takes the present
    shapes, at which plans end; misfit: the error of the layer after it. needed: plans that are kept in any case, since
    the present pass goes back through them.
    """

    def __init__(
        self,
        net: Net,
        device: Device,
        dtype: DataType,
        options: Options,
        training: bool,
        materialize: Materialize,
        ranges: Mapping[str, Range],
    ) -> None:
        self.net = net
        self.training = training
        self.fitting = len(net.nodes) - 1
        self.misfit: DragonError | None = None
        self.needed: Collection[Plan] = ()
        self.arena_memory = ArenaMemory()
        self._device, self._dtype, self._options, self._materialize = device, dtype, options, materialize
        self._ranges = ranges
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self._bytes: dict[tuple[Any, ...], int] = {}  # that the plans take
        self._garbage = 0  # bytes of plans that were given up since the collector looked for them
        self._current: dict[tuple[Any, ...], Plan] = {}  # plans known to be valid for the present version
        self._version = -1
        self._key: tuple[Any, ...] = ()
        self._shapes: tuple[tuple[int, ...], ...] = ()

    def __iter__(self) -> Iterator[Plan]:
        return iter(self._plans.values())

    def refresh(self, first: int = 0) -> bool:
        """Propagate shapes from layer `first` on, and note for which shapes plans are needed now.

        Where a layer cannot take the new shapes, plans end before it: it may not be going to run, or a layer written
        by the user may give its tops other shapes when it runs. Returns whether anything may have changed.
        """
        net = self.net
        space = net.context.space
        if space.version == self._version:
            return False
        self.misfit = None
        self.fitting = len(net.nodes) - 1
        for node in net.nodes[first:]:
            try:
                node.layer.reshape(node.bottoms, node.tops)
            except DragonError as error:
                self.misfit = error
                self.fitting = node.index - 1
                break
            node.fill_loss_weights()
        self._shapes = self._present_shapes()
        self._key = (
            self.fitting,
            self._shapes,
            tuple(node.layer.phase for node in net.nodes),
            tuple(id(blob.data_storage) for node in net.nodes for blob in node.layer.blobs),
        )
        self._version = space.version
        self._current.clear()
        return True

    def _present_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(blob.shape for node in self.net.nodes for blob in node.tops if not blob.is_loose)

    @property
    def has_present_shapes(self) -> bool:
        """Whether the blobs have the shapes that the last `refresh` found."""
        return self._present_shapes() == self._shapes

    @property
    def reshaped(self) -> bool:
        """Whether blobs have got other shapes since the last `refresh`."""
        return self.net.context.space.version != self._version and not self.has_present_shapes

    @property
    def has_single_only(self) -> bool:
        """Whether there is a single plan for the present state, and no whole one."""
        found = [self._plans.get((whole, self.training, self._key)) for whole in (False, True)]
        return found[0] is not None and found[0].valid and found[1] is None

    def plan(self, whole: bool) -> Plan:
        """The whole plan, or the single one, for the state that the last `refresh` found."""
        key = (whole, self.training, self._key)
        current = self._current.get(key)
        if current is not None:
            return current
        plan = self._plans.get(key)
        if plan is not None and not plan.valid:
            plan.detach()
            del self._plans[key], self._bytes[key]
            plan = None
        if plan is None:
            plan = self._plans[key] = self._make(whole)
            self._bytes[key] = Planned.of(plan).bytes
            self._give_up_old(plan)
        self._plans.move_to_end(key)
        self._current[key] = plan
        return plan

    def _give_up_old(self, new: Plan) -> None:
        """Keep few plans, by number and by memory: some nets have other shapes in each pass, as labels of detectors."""
        for key, old in list(self._plans.items()):
            if len(self._plans) <= 2 * _KEPT_SHAPES and (
                len(self._plans) <= _KEPT or sum(self._bytes.values()) <= _KEPT_BYTES
            ):
                break
            if old is new or old in self.needed:
                continue
            del self._plans[key]
            old.detach()
            self._garbage += self._bytes.pop(key)
        if self._garbage > _GARBAGE:
            self._garbage = 0
            gc.collect()

    @without_collecting()
    def _make(self, whole: bool) -> Plan:
        plan = self._built(whole, sums_in_place=True)
        if plan.arena is not None and plan.arena.lacks:
            plan.detach()
            plan = self._built(whole, sums_in_place=False)
        return plan

    def _built(self, whole: bool, sums_in_place: bool) -> Plan:
        return Plan(
            self.net,
            self._device,
            self._dtype,
            training=self.training,
            fuse=whole and self._options.fuse,
            winograd=self._options.winograd,
            whole=whole,
            verbose=self._options.verbose,
            materialize=self._materialize,
            arena_memory=self.arena_memory,
            ranges=self._ranges,
            last=self.fitting,
            sums_in_place=sums_in_place,
        )

    @property
    def current(self) -> Collection[Plan]:
        """The plans that are valid for the net as it is at this moment."""
        return self._current.values() if self.net.context.space.version == self._version else ()

    def forget_test(self) -> None:
        """Give up the plans that cannot run backward, and their memory."""
        for key, plan in list(self._plans.items()):
            if not plan.training:
                plan.detach()
                del self._plans[key], self._bytes[key]
        self._current.clear()
        self.arena_memory = ArenaMemory()
