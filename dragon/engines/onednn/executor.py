"""The executor of a net on oneDNN: plans for the shapes seen, kept, and run.

Two plans serve a net: the whole one, fused, for full passes; and the single one, in which every layer stands alone,
for ranges of layers, hooks and debug output. Storages carry values between them.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.base import Executor, LayerTime, Options, debug_blobs, weighted_loss
from dragon.engines.onednn.constants import DataType
from dragon.engines.onednn.memory import Device
from dragon.engines.onednn.plan import Plan
from dragon.engines.onednn.reference import ShapesChangedError, is_free
from dragon.engines.onednn.threads import default_threads, set_threads
from dragon.errors import EngineError

if TYPE_CHECKING:
    from dragon.net import Net

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
        self.training = net.phase == 0 and any(net.layer_need_backward)
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self._current: dict[tuple[Any, ...], Plan] = {}  # plans known to be valid for the present version
        self._version = -1
        self._key: tuple[Any, ...] = ()
        self._ran: list[Plan | None] = [None] * len(net.layers)  # the plan that ran each layer's forward last
        self._draws: list[int] = [0] * len(net.layers)
        self._last = len(net.layers) - 1

    # -- plans ----------------------------------------------------------------------------------------------
    def _refresh(self, first: int = 0) -> None:
        """Propagate shapes from layer `first` on, and note for which shapes plans are wanted now."""
        net = self.net
        where = net.context.where
        if where.version == self._version:
            return
        for i in range(first, len(net.layers)):
            layer = net.layers[i]
            layer.reshape(net.bottoms[i], net.tops[i])
            net.fill_loss_weights(i, net.tops[i])
        self._key = (
            tuple(blob.shape for tops in net.tops for blob in tops),
            tuple(layer.phase for layer in net.layers),
            tuple(id(blob.data_storage) for layer in net.layers for blob in layer.blobs),
        )
        self._version = where.version
        self._current.clear()

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
                whole=whole,
                verbose=self.options.verbose,
                materialize=self._materialize,
            )
            self._plans[key] = plan
            while len(self._plans) > 2 * _KEPT_SHAPES:
                _, old = self._plans.popitem(last=False)
                old.detach()
        self._current[key] = plan
        return plan

    # -- running --------------------------------------------------------------------------------------------
    def _alone(self) -> bool:
        """Whether layers must be run one by one: somebody watches between them."""
        net = self.net
        return bool(
            net.debug_info
            or net.before_forward_hooks
            or net.after_forward_hooks
            or net.before_backward_hooks
            or net.after_backward_hooks
        )

    def forward(self, start: int, end: int) -> float:
        set_threads(self.threads)
        self._refresh(start)
        if self._alone():
            return sum(self._watched_forward(i) for i in range(start, end + 1))
        whole = start == 0 and end == self._last
        self._forward(self._plan(whole), start, end)
        self._download()
        return self._loss(start, end)

    def _forward(self, plan: Plan, start: int, end: int) -> None:
        if self.training:
            for i in range(start, end + 1):
                self._draws[i] = self.net.layers[i].rng.draws
        self._ran[start : end + 1] = [plan] * (end + 1 - start)
        try:
            plan.forward(start, end)
        except ShapesChangedError as change:
            self._refresh(change.layer + 1)
            if change.layer < end:
                self._forward(self._plan(False), change.layer + 1, end)

    def _watched_forward(self, i: int) -> float:
        for hook in self.net.before_forward_hooks:
            hook(i)
        self._forward(self._plan(False), i, i)
        self._download()
        if self.net.debug_info:
            debug_blobs(self.net, "Forward", i)
        for hook in self.net.after_forward_hooks:
            hook(i)
        return self._loss(i, i)

    def _loss(self, start: int, end: int) -> float:
        net = self.net
        plan = self._ran[end]
        loss = 0.0
        for i in plan.loss_tops if plan else ():
            if start <= i <= end:
                loss += weighted_loss(net.tops[i], net.layers[i].loss_weights)
        return loss

    def backward(self, start: int, end: int) -> None:
        set_threads(self.threads)
        if not self.training:
            self.training = True
            self._replay(range(len(self.net.layers)))
        if self._alone():
            for i in range(start, end - 1, -1):
                for hook in self.net.before_backward_hooks:
                    hook(i)
                self._backward(i, i)
                self._download()
                if self.net.debug_info and self.net.layer_need_backward[i]:
                    debug_blobs(self.net, "Backward", i)
                for hook in self.net.after_backward_hooks:
                    hook(i)
            return
        self._backward(start, end)
        self._download()

    def _backward(self, start: int, end: int) -> None:
        plan = self._ran[start]
        if start == self._last and end == 0 and plan is not None and all(ran is plan for ran in self._ran):
            plan.backward(start, end)
            return
        i = start
        while i >= end:
            plan = self._ran[i]
            group = plan.group_of(i) if plan is not None else None
            if plan is None or group is None:
                raise EngineError("backward was asked for before forward")
            members = range(group.first, group.last + 1)
            if end <= group.first and group.last <= i and all(self._ran[j] is plan for j in members):
                plan.backward(group.last, group.first)
                i = group.first - 1
                continue
            self._replay(self._with_overwritten(members))
            single = self._ran[i]
            assert single is not None
            single.backward(i, i)
            i -= 1

    def _replay(self, layers: range) -> None:
        """Run forward of `layers` again, one by one and without leaving traces: the single plan needs its state."""
        single = self._plan(False)
        storages = {id(blob.data_storage): blob.data_storage for i in layers for blob in self.net.tops[i]}
        before = [(storage, storage.read().copy()) for storage in storages.values()]
        for i in layers:
            layer = self.net.layers[i]
            self._ran[i] = single
            if layer.is_source:
                continue
            draws, layer.rng.draws = layer.rng.draws, self._draws[i] if self.training else layer.rng.draws
            kept = [
                (blob.data_storage, blob.data_storage.read().copy())
                for j, blob in enumerate(layer.blobs)
                if j in layer.buffers
            ]
            single.forward(i, i)
            layer.rng.draws = draws
            for storage, value in kept:
                storage.overwrite()[...] = value
        for storage, value in before:  # differs where a script changed what the layers read
            if not np.array_equal(storage.read(), value, equal_nan=True):
                storage.overwrite()[...] = value

    def _with_overwritten(self, layers: range) -> range:
        """The layers and those around them that must run again with them: what was overwritten in place comes back."""
        net = self.net
        pairs = list(zip(net.layers, net.bottoms, net.tops, strict=True))
        taken = [{id(blob.data_storage) for blob in bottoms} for _, bottoms, _ in pairs]
        made = [{id(blob.data_storage) for blob in tops} for _, _, tops in pairs]
        overwritten: set[int] = set()
        for i, (layer, bottoms, tops) in enumerate(pairs):
            if not is_free(layer, bottoms, tops):
                overwritten |= taken[i] & made[i]
        first, last = layers.start, layers.stop - 1
        while True:
            touched = overwritten & set().union(*taken[first : last + 1], *made[first : last + 1])
            writers = [i for i, storages in enumerate(made) if storages & touched]
            wider = min([first, *writers]), max([last, *writers])
            if wider == (first, last):
                return range(first, last + 1)
            first, last = wider

    def _materialize(self, first: int, last: int) -> None:
        """Compute blobs that the whole plan skipped, in TEST: layers first..last one by one."""
        self._plan(False).forward(first, last)

    def _download(self) -> None:
        """Keep the arrays live that a script still holds."""
        for blob in self.net.blobs.values():
            if blob.data_storage.held:
                blob.data_storage.read()
            if blob.diff_storage.held:
                blob.diff_storage.read()

    # -- looking in -----------------------------------------------------------------------------------------
    def describe(self) -> list[str]:
        self._refresh()
        plan = self._plan(True)
        notes: list[str] = []
        for group in plan.groups:
            notes.append(group.note)
            notes += [f"in {self.net.layer_names[group.first]}"] * (group.last - group.first)
        return notes

    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        """As the base class, by groups of the plan that really runs; a fused group's time stands at its first layer."""
        set_threads(self.threads)
        self._refresh()
        if backward and not self.training:
            self.training = True
        plan = self._plan(True)
        count = len(self.net.layers)
        forward, back = np.zeros(count), np.zeros(count)
        for n in range(iterations + 1):
            for group in plan.groups:
                with _clocked(forward, group.first, n > 0):
                    plan.forward(group.first, group.last)
            for group in reversed(plan.groups) if backward else ():
                with _clocked(back, group.first, n > 0):
                    plan.backward(group.last, group.first)
        self._ran = [plan] * count
        notes = self.describe()
        return [
            LayerTime(self.net.layer_names[i], layer.type, forward[i] / iterations, back[i] / iterations, notes[i])
            for i, layer in enumerate(self.net.layers)
        ]


@contextmanager
def _clocked(times: Any, index: int, counts: bool) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    times[index] += (time.perf_counter() - begin) * 1e3 * counts
