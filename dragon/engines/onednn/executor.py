"""The executor of a net on oneDNN: plans for the shapes seen, kept, and run.

Two plans serve a net: the whole one, fused, for full passes; and the single one, in which every layer stands alone,
for ranges of layers, hooks and debug output. Storages carry values between them.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.base import Executor, LayerTime, Options, is_watched, watched, weighted_loss
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.memory import Device
from dragon.engines.onednn.library.threads import default_threads, set_threads
from dragon.engines.onednn.plan.arena import ArenaMemory
from dragon.engines.onednn.plan.plan import Plan
from dragon.engines.onednn.plan.planned import Planned
from dragon.engines.onednn.plan.reference import ShapesChangedError
from dragon.engines.onednn.plan.replay import Replay, parameters_of_now
from dragon.engines.onednn.plan.values import LazyCopy
from dragon.engines.onednn.updating import Descent
from dragon.errors import DragonError, EngineError
from dragon.memory.storage import Array, Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.solver.update import Updater

__all__ = ["OneDNNExecutor"]

log = logging.getLogger("dragon")
_KEPT_SHAPES = 8
_DTYPES = {"fp32": DataType.f32, "bf16": DataType.bf16}


class OneDNNExecutor(Executor):
    name = "onednn"

    def __init__(self, net: Net, options: Options) -> None:
        super().__init__(net, options)
        self.device = Device()
        if options.precision not in _DTYPES:
            raise EngineError(f"the oneDNN engine computes in {' or '.join(_DTYPES)}, not in {options.precision}")
        if options.precision == "bf16" and not self.device.native_bf16:
            raise EngineError("precision bf16 needs a CPU with AVX-512 BF16 or AMX, which this one has not")
        self.dtype = _DTYPES[options.precision]
        self.threads = options.threads or default_threads()
        self.training = net.phase == 0 and any(node.need_backward for node in net.nodes)
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self._current: dict[tuple[Any, ...], Plan] = {}  # plans known to be valid for the present version
        self._version = -1
        self._key: tuple[Any, ...] = ()
        self._ran: list[Plan | None] = [None] * len(net.nodes)  # the plan that ran each layer's forward last
        self._last = len(net.nodes) - 1
        self._fitting = self._last  # the last layer that takes the present shapes
        self._misfit: DragonError | None = None  # what the next one says
        self._replay = Replay(net)
        self._arena_memory = ArenaMemory()
        self._descent: Descent | None = None

    # -- plans ----------------------------------------------------------------------------------------------
    def _refresh(self, first: int = 0) -> None:
        """Propagate shapes from layer `first` on, and note for which shapes plans are wanted now.

        Where a layer cannot take the new shapes, plans end before it: perhaps it is not to run, or a layer below it
        that is the user's gives its tops their shapes only when it runs.
        """
        net = self.net
        where = net.context.where
        if where.version == self._version:
            return
        self._misfit = None
        self._fitting = self._last
        for node in net.nodes[first:]:
            try:
                node.layer.reshape(node.bottoms, node.tops)
            except DragonError as error:
                self._misfit = error
                self._fitting = node.index - 1
                break
            node.fill_loss_weights()
        self._key = (
            self._fitting,
            self._shapes(),
            tuple(node.layer.phase for node in net.nodes),
            tuple(id(blob.data_storage) for node in net.nodes for blob in node.layer.blobs),
        )
        self._version = where.version
        self._current.clear()
        self._replay.look_again()

    def _settle(self) -> None:
        """As _refresh; the error of a layer that cannot take the new shapes is raised."""
        self._refresh()
        if self._misfit is not None:
            raise self._misfit

    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(blob.shape for node in self.net.nodes for blob in node.tops)

    def _plan(self, whole: bool) -> Plan:
        key = (whole, self.training, self._key)
        current = self._current.get(key)
        if current is not None:
            return current
        plan = self._plans.get(key)
        if plan is not None and not plan.valid:
            plan.detach()
            del self._plans[key]
            plan = None
        if plan is None:
            fuse = whole and self.options.fuse
            plan = Plan(
                self.net,
                self.device,
                self.dtype,
                training=self.training,
                fuse=fuse,
                winograd=self.options.winograd,
                whole=whole,
                verbose=self.options.verbose,
                materialize=self._materialize,
                arena_memory=self._arena_memory,
                last=self._fitting,
            )
            self._plans[key] = plan
            while len(self._plans) > 2 * _KEPT_SHAPES:
                _, old = self._plans.popitem(last=False)
                old.detach()
        self._current[key] = plan
        return plan

    def _forget_test(self) -> None:
        """Give up the plans that cannot run backward, and their memory."""
        for key, plan in list(self._plans.items()):
            if not plan.training:
                plan.detach()
                del self._plans[key]
        self._current.clear()
        self._arena_memory = ArenaMemory()

    # -- running --------------------------------------------------------------------------------------------
    def forward(self, start: int, end: int) -> float:
        set_threads(self.threads)
        self._refresh(start)
        if is_watched(self.net):
            return sum(self._watched_forward(i) for i in range(start, end + 1))
        whole = start == 0 and end == self._last == self._fitting
        self._forward(self._plan(whole), start, end)
        self._download()
        return self._loss(start, end)

    def _forward(self, plan: Plan, start: int, end: int) -> None:
        fitting = min(end, self._fitting)
        if start <= fitting:
            try:
                self._run(plan, start, fitting)
            except ShapesChangedError as change:
                self._refresh(change.layer + 1)
                if change.layer < end:
                    self._forward(self._plan(False), change.layer + 1, end)
                return
        if fitting < end and self._misfit is not None:
            raise self._misfit

    def _run(self, plan: Plan, start: int, end: int) -> None:
        if not self.training and plan.arena is None:
            self._tell(start, end)
        self._ran[start : end + 1] = [plan] * (end + 1 - start)
        if not self.training:
            start = self._replay.keep(plan, start, end)
        plan.forward(start, end)

    def _watched_forward(self, i: int) -> float:
        with watched(self.net, "Forward", i):
            self._forward(self._plan(False), i, i)
            self._download()
        return self._loss(i, i)

    def _loss(self, start: int, end: int) -> float:
        plan = self._ran[end]
        loss = 0.0
        for node in plan.losses if plan else ():
            if start <= node.index <= end:
                loss += weighted_loss(node.tops, node.loss_weights)
        return loss

    def backward(self, start: int, end: int) -> None:
        set_threads(self.threads)
        if not self.training:
            self._refresh()
            self.training = True
            single = self._plan(False)
            self._replay.run(single)
            self._ran = [single if i <= self._fitting else None for i in range(len(self.net.nodes))]
            self._forget_test()
        current = self._current.values() if self.net.context.where.version == self._version else ()
        with parameters_of_now([plan for plan in self._plans_that_ran() if plan not in current]):
            self._backward_layers(start, end)

    def update(self, updater: Updater, rate: float, iteration: int) -> None:
        if not Descent.knows(updater):
            super().update(updater, rate, iteration)
            return
        set_threads(self.threads)
        if self._descent is None or self._descent.updater is not updater:
            self._descent = Descent(self.device, updater)
        self._descent(rate)

    def _backward_layers(self, start: int, end: int) -> None:
        if not is_watched(self.net):
            self._backward(start, end)
            self._download()
            return
        for i in range(start, end - 1, -1):
            with watched(self.net, "Backward", i):
                self._backward(i, i)
                self._download()

    def _backward(self, start: int, end: int) -> None:
        for ran in self._plans_that_ran():
            ran.note_changes()
        plan = self._ran[start]
        whole = start == self._last and end == 0 and all(ran is plan for ran in self._ran)
        if whole and plan is not None and not plan.changed:
            plan.backward(start, end)
            return
        i = start
        while i >= end:
            plan = self._ran[i]
            group = plan.group_of(i) if plan is not None else None
            if plan is None or group is None:
                raise EngineError("backward was asked for before forward")
            members = range(group.first, group.last + 1)
            together = end <= group.first and i == group.last and all(self._ran[j] is plan for j in members)
            together = together and not plan.is_changed(group)
            plan.backward_alone(i, together)
            i = group.first - 1 if together else i - 1

    def _plans_that_ran(self) -> list[Plan]:
        return list({id(plan): plan for plan in self._ran if plan is not None}.values())

    def _tell(self, start: int, end: int) -> None:
        """Layers start..end are going to write their tops, of which other blobs may yet have to be made."""
        for node in self.net.nodes[start : end + 1]:
            for top in node.tops:
                top.data_storage.tell()

    def _materialize(self, first: int, last: int, wanted: Storage, then: Mapping[Storage, Array]) -> None:
        """Compute a blob that the whole plan skipped, in TEST: run layers first..last one by one.

        then: what they read, with its value in the run. All but `wanted` is as before afterwards. Nothing happens
        when shapes have changed since: there is no more value that would be right.
        """
        if self._shapes() != self._key[1]:
            return
        self._settle()
        before: list[tuple[Storage, Array]] = []
        for storage, value in then.items():
            now = storage.read()
            if not np.array_equal(now[: value.size], value, equal_nan=True):
                before.append((storage, now.copy()))
                storage.overwrite()[: value.size] = value
        others = {top.data_storage for node in self.net.nodes[first : last + 1] for top in node.tops} - {wanted}
        known = [storage for storage in others if not isinstance(storage.newest_copy(), LazyCopy)]
        before += [(storage, storage.read().copy()) for storage in known]
        self._tell(first, last)
        self._plan(False).forward(first, last)
        for storage, value in before:
            storage.overwrite()[...] = value

    def _download(self) -> None:
        """Keep the arrays live that a script still holds."""
        for blob in self.net.blobs.values():
            if blob.data_storage.held:
                blob.data_storage.read()
            if blob.diff_storage.held:
                blob.diff_storage.read()

    # -- looking in -----------------------------------------------------------------------------------------
    def describe(self) -> list[str]:
        self._settle()
        plan = self._plan(True)
        notes: list[str] = []
        for group in plan.groups:
            notes.append(group.note)
            notes += [f"in {self.net.nodes[group.first].name}"] * (group.last - group.first)
        return notes

    def remarks(self) -> list[str]:
        self._settle()
        return [Planned.of(self._plan(True)).line()]

    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        """As the base class, by groups of the plan that really runs; a fused group's time stands at its first layer."""
        set_threads(self.threads)
        self._settle()
        if backward and not self.training:
            self.training = True
        count = len(self.net.nodes)
        forward, back = np.zeros(count), np.zeros(count)
        for n in range(iterations + 1):
            self.net.look_ahead()
            self._settle()
            plan = self._plan(True)
            for group in plan.groups:
                with _clocked(forward, group.first, n > 0):
                    plan.forward(group.first, group.last)
            for group in reversed(plan.groups) if backward else ():
                with _clocked(back, group.first, n > 0):
                    plan.backward(group.last, group.first)
        self._ran = [plan] * count
        notes = self.describe()
        return [
            LayerTime(node.name, node.layer.type, forward[i] / iterations, back[i] / iterations, notes[i])
            for i, node in enumerate(self.net.nodes)
        ]


@contextmanager
def _clocked(times: Any, index: int, counts: bool) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    times[index] += (time.perf_counter() - begin) * 1e3 * counts
