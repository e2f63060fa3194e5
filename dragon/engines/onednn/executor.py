"""The executor of a net on oneDNN: it runs the plans for the net's present shapes.

Two plans serve a net: the whole one, fused, for full passes; and the single one, in which each layer runs by itself,
for ranges of layers, hooks and debug output. Storages carry values between them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.base import Executor, LayerTime, Options, is_watched, watched, weighted_loss
from dragon.engines.int8.run import Int8Run
from dragon.engines.onednn.held_arrays import HeldArrays
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.threads import default_threads, set_threads
from dragon.engines.onednn.library.waiting import waiting
from dragon.engines.onednn.plan.cache import PlanCache
from dragon.engines.onednn.plan.plan import Plan
from dragon.engines.onednn.plan.planned import Planned
from dragon.engines.onednn.plan.reference import ShapesChangedError
from dragon.engines.onednn.plan.replay import Replay, lend_present_parameters
from dragon.engines.onednn.plan.values import LazyCopy
from dragon.engines.onednn.profile import Profile, group_notes
from dragon.engines.onednn.stretches import Stretch, find_stretches, run_down_to
from dragon.errors import EngineError
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.engines.int8.arithmetic import Range
    from dragon.engines.onednn.updating import PrimitiveUpdate
    from dragon.graph.net import Net
    from dragon.graph.update import Update

__all__ = ["OneDNNExecutor"]

log = logging.getLogger("dragon")
# of what is not multiplied in int8
_DTYPES = {"fp32": DataType.f32, "bf16": DataType.bf16, "int8": DataType.f32}


class OneDNNExecutor(Executor):
    """Runs a net on the CPU. EngineError where oneDNN cannot be loaded, or the CPU lacks the precision."""

    name = "onednn"

    def __init__(self, net: Net, options: Options) -> None:
        super().__init__(net, options)
        self.device = Device()
        if options.precision not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise EngineError(f"the oneDNN engine computes in one of {known}, not in {options.precision}")
        if options.precision == "bf16" and not self.device.native_bf16:
            raise EngineError("precision bf16 needs a CPU with AVX-512 BF16 or AMX, which this one has not")
        self.dtype = _DTYPES[options.precision]
        self._int8 = Int8Run(net, options)
        if self._int8.enabled and net.context.dtype != np.float32:
            raise EngineError(f"precision int8 needs a net of float32, got {net.context.dtype}")
        self.threads = options.threads or default_threads()
        self._waiting = waiting() if self.threads > 1 else None
        training = net.phase == 0 and any(node.need_backward for node in net.nodes)
        self.plans = PlanCache(net, self.device, self.dtype, options, training, self._materialize, self._ranges())
        self._ran: list[Plan | None] = [None] * len(net.nodes)  # the plan that ran each layer's forward most recently
        self._last = len(net.nodes) - 1
        self._moving = False  # whether sources gave other shapes in the last pass
        self._changers: set[int] = set()  # layers that gave other shapes than their plan was made for
        self._replay = Replay(net)
        self._update: PrimitiveUpdate | None = None
        self._held = HeldArrays(net)

    def _ranges(self) -> dict[str, Range]:
        """The ranges of the layers that run in int8.

        Without VNNI products are added in 16 bits, so weights get 7 bits. Integers with a sign would need 6, since
        oneDNN adds 128 to each: layers that read such stay in float32.
        """
        vnni = self.device.has_vnni
        return {name: of for name, of in self._int8.ranges.items() if vnni or not of.signed}

    # -- plans ----------------------------------------------------------------------------------------------
    def _refresh(self, first: int = 0) -> None:
        """Propagate shapes from layer `first` on."""
        if self.plans.refresh(first):
            self._replay.forget_ranges()

    def _settle(self) -> None:
        """As `_refresh`; raises the error of a layer that cannot take the new shapes."""
        self._refresh()
        if self.plans.misfit is not None:
            raise self.plans.misfit

    def _plan(self, whole: bool, start: int) -> Plan:
        """The plan that a pass goes on with at layer `start`; backward will need those of the layers before it."""
        before = zip(self.net.nodes[:start], self._ran[:start], strict=True)
        self.plans.needed = {plan for node, plan in before if plan is not None and node.need_backward}
        return self.plans.plan(whole)

    # -- running --------------------------------------------------------------------------------------------
    def forward(self, start: int, end: int) -> float:
        self._int8.begin()
        set_threads(self.threads)
        self._refresh(start)
        if is_watched(self.net):
            return sum([self._watched_forward(i) for i in range(start, end + 1)])  # a generator hides StopIteration
        whole = start == 0 and end == self._last == self.plans.fitting
        if whole and self._moving and self.plans.has_single_only:
            whole = False  # a whole plan would serve the sources alone: the next shapes need another
        self._moving = False
        self._forward(self._plan(whole, start), start, end, whole)
        self._passed()
        self._held.bring_up_to_date(self.plans.training)
        return self._loss(start, end)

    def _passed(self) -> None:
        """A pass is over: the way in which threads wait may be chosen anew."""
        if self._waiting is not None:
            self._waiting.note()

    def _forward(self, plan: Plan, start: int, end: int, whole: bool) -> None:
        """Run layers start..end by `plan`, and by further plans from where a layer gives other shapes.

        whole: whether this is a full pass. In training it goes on with the whole plan for the new shapes, so that the
        same layers are fused whatever shapes the pass before had.
        """
        fitting = min(end, self.plans.fitting)
        if start <= fitting:
            try:
                self._run(plan, start, fitting)
            except ShapesChangedError as change:
                rest = change.layer + 1
                self._moving = not any(node.bottoms for node in self.net.nodes[:rest])
                self._refresh(rest)
                if rest <= end:
                    whole = whole and self.plans.training and end == self.plans.fitting
                    self._forward(self._plan(whole, rest), rest, end, whole)
                self._changers.add(change.layer)
                return
        if fitting < end and self.plans.misfit is not None:
            raise self.plans.misfit

    def _run(self, plan: Plan, start: int, end: int) -> None:
        if not self.plans.training and plan.arena is None:
            self._notify_watchers(start, end)
        self._ran[start : end + 1] = [plan] * (end + 1 - start)
        self._changers.difference_update(range(start, end + 1))
        if not self.plans.training:
            start = self._replay.save(plan, start, end)
        plan.forward(start, end)

    def _watched_forward(self, i: int) -> float:
        with watched(self.net, "Forward", i):
            self._forward(self._plan(False, i), i, i, False)
            self._held.bring_up_to_date(self.plans.training)
        return self._loss(i, i)

    def _loss(self, start: int, end: int) -> float:
        plan = self._ran[end]
        loss = 0.0
        for node in plan.losses if plan else ():
            if start <= node.index <= end:
                loss += weighted_loss(node.tops, node.loss_weights)
        return loss

    def backward(self, start: int, end: int) -> None:
        self._int8.refuse_backward()
        set_threads(self.threads)
        if not self.plans.training:
            self._refresh()
            self.plans.training = True
            single = self._replayed()
            self._ran = [single if i <= self.plans.fitting else None for i in range(len(self.net.nodes))]
            self.plans.forget_test()
        elif self.plans.reshaped:  # what forward kept has the shapes of before: as if it had not run
            self._ran = [None] * len(self.net.nodes)
        self._run_missing(range(end, start + 1))
        outdated = [plan for plan in self._plans_that_ran() if plan not in self.plans.current]
        with lend_present_parameters(outdated):
            self._backward_layers(start, end)

    def _run_missing(self, layers: range) -> None:
        """For layers whose forward has not run: what their backward keeps from it, by a run that leaves no trace."""
        missing = {i for i in layers if self._ran[i] is None}
        if not missing:
            return
        self._refresh()
        single = self._replayed(missing)
        for i in missing:
            self._ran[i] = single if i <= self.plans.fitting else None

    def _replayed(self, only: Collection[int] | None = None) -> Plan:
        """The plan of single layers, after a run that leaves no trace of those in `only`, or of all."""
        while True:
            single = self.plans.plan(False)
            try:
                self._replay.run(single, only)
                return single
            except ShapesChangedError as change:
                self._refresh(change.layer + 1)

    def update(self, updater: Update, rate: float, iteration: int) -> None:
        from dragon.engines.onednn.updating import PrimitiveUpdate  # not where nets are only run

        if not PrimitiveUpdate.supports(updater):
            super().update(updater, rate, iteration)
            return
        set_threads(self.threads)
        if self._update is None or self._update.updater is not updater:
            self._update = PrimitiveUpdate(self.device, updater, self.threads)
        self._update(rate, iteration)

    def _backward_layers(self, start: int, end: int) -> None:
        if not is_watched(self.net):
            self._backward(start, end)
            self._held.bring_up_to_date(self.plans.training)
            return
        for i in range(start, end - 1, -1):
            with watched(self.net, "Backward", i):
                self._backward(i, i)
                self._held.bring_up_to_date(self.plans.training)

    def _backward(self, start: int, end: int) -> None:
        self._note_changes()
        stretches = self._stretches() if start == self._last and end == 0 else None
        if stretches is not None:
            run_down_to(stretches, end)
            self._passed()
            return
        i = start
        while i >= end:
            plan = self._ran[i]
            group = plan.group_of(i) if plan is not None else None
            if plan is None or group is None:
                raise self.plans.misfit or EngineError("backward of a layer that does not take the present shapes")
            members = range(group.first, group.last + 1)
            together = end <= group.first and i == group.last and all(self._ran[j] is plan for j in members)
            together = together and not plan.is_changed(group)
            plan.backward_alone(i, together)
            i = group.first - 1 if together else i - 1

    def _backward_in_parts(self, ends: Sequence[int], ready: Callable[[int], None]) -> None:
        self._note_changes()
        stretches = None if is_watched(self.net) else self._stretches()
        if stretches is None:
            super()._backward_in_parts(ends, ready)
            return
        for end in ends:
            run_down_to(stretches, end)
            ready(end)
        self._passed()
        self._held.bring_up_to_date(self.plans.training)

    def _note_changes(self) -> None:
        for plan in self._plans_that_ran():
            plan.note_changes()

    def _stretches(self) -> list[Stretch] | None:
        return find_stretches(self.net.nodes, self._ran, self._changers)

    def _plans_that_ran(self) -> list[Plan]:
        return list({id(plan): plan for plan in self._ran if plan is not None}.values())

    def _notify_watchers(self, start: int, end: int) -> None:
        """Layers start..end are about to write their tops, from which skipped blobs may still have to be computed."""
        for node in self.net.nodes[start : end + 1]:
            for top in node.tops:
                top.data_storage.notify_watchers()

    def _materialize(self, first: int, last: int, wanted: Storage, values: Mapping[Storage, Array]) -> None:
        """Compute a blob that the whole plan skipped, in TEST, by running layers first..last one by one.

        values: what these layers read in the run. All storages but `wanted` are put back afterwards. Does nothing when
        shapes have changed since the run: no value would be right any more.
        """
        if not self.plans.has_present_shapes:
            return
        self._settle()
        before: list[tuple[Storage, Array]] = []
        for storage, value in values.items():
            now = storage.read()
            if not np.array_equal(now[: value.size], value, equal_nan=True):
                before.append((storage, now.copy()))
                storage.overwrite()[: value.size] = value
        others = {top.data_storage for node in self.net.nodes[first : last + 1] for top in node.tops} - {wanted}
        known = [storage for storage in others if not isinstance(storage.newest_copy(), LazyCopy)]
        before += [(storage, storage.read().copy()) for storage in known]
        self._notify_watchers(first, last)
        self.plans.plan(False).forward(first, last)
        for storage, value in before:
            storage.overwrite()[...] = value

    # -- reports --------------------------------------------------------------------------------------------
    def describe(self) -> list[str]:
        self._settle()
        return group_notes(self.net, self.plans.plan(True).groups)

    def remarks(self) -> list[str]:
        self._settle()
        return [Planned.of(self.plans.plan(True)).line()]

    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        """As the base class, but for the groups of the whole plan; a fused group's time stands at its first layer."""
        if backward:
            self._int8.refuse_backward()
        set_threads(self.threads)
        self._settle()
        if backward and not self.plans.training:
            self.plans.training = True
        profile = Profile(self.plans, self._settle, self._refresh)
        for n in range(iterations + 1):
            profile.run(backward, counts=n > 0)
        self._ran = profile.ran
        return profile.times()
