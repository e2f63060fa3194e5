"""The executor of a net on one GPU. Parts whose shapes do not change are replayed as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.base import Executor, LayerTime, Options, is_watched, measure_layers
from dragon.engines.cuda.device.gpu import open_gpu
from dragon.engines.cuda.device.precision import FLOAT16, HalfPrecision, type_in
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.division import Division
from dragon.engines.cuda.plan.graphs import Graphs
from dragon.engines.cuda.plan.iteration import Iteration, IterationLoss
from dragon.engines.cuda.plan.layouts import Layouts, on_tensor_cores
from dragon.engines.cuda.plan.loss_scale import LossScale
from dragon.engines.cuda.plan.memory import memory_for
from dragon.engines.cuda.plan.plan import Plan
from dragon.engines.cuda.plan.plans import Plans
from dragon.engines.cuda.plan.ranges import RangeRunner
from dragon.engines.cuda.plan.report import RangeErrors, Report
from dragon.engines.cuda.plan.running import GroupRunner
from dragon.engines.cuda.plan.segments import Segment
from dragon.engines.cuda.plan.sharing import Sharing
from dragon.engines.cuda.plan.types import Types
from dragon.engines.cuda.updating import DeviceUpdate
from dragon.engines.untraced import run_missing
from dragon.memory.storage import Storage

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.update import Update

__all__ = ["CudaExecutor"]


class CudaExecutor(Executor):
    """Runs a net on one GPU.

    arrays: of the net's storages. plans: of the shapes that it has had, with the graphs that are captured. division:
    into groups. runner: of groups. ranges: of layers. sharing: of memory by blobs. range_errors: found by kernels.
    loss_scale: of fp16. launches_parts: whether backward in parts is one launch for each part, for gradients that are
    sent from the GPU.
    """

    name = "cuda"

    def __init__(self, net: Net, options: Options) -> None:
        super().__init__(net, options)
        chosen = type_in(options.precision)
        gpu = self.gpu = open_gpu(Options.default_device if options.device is None else options.device)
        gpu.used_by(self)
        half = chosen if net.context.dtype == np.float32 else None
        with gpu.active():
            self.loss_scale = LossScale(gpu) if half == FLOAT16 else None
        channels_last = options.channels_last and on_tensor_cores(net, half, options.tf32)
        types = Types(net, half)
        arrays = self.arrays = Arrays(gpu, types, Layouts(net, types, channels_last), self.loss_scale)
        half_precision = _half_precision(half, arrays, self.loss_scale)
        self.plans = Plans(net, gpu, arrays, options.fuse, half_precision, channels_last)
        self.division = Division(net)
        self.range_errors = RangeErrors(net, gpu, self.plans)
        self.runner = GroupRunner(net, gpu, arrays, self.plans, self.range_errors)
        self.ranges = RangeRunner(net, gpu, arrays, self.plans, self.division, self.runner)
        self.sharing = Sharing(net, gpu, arrays, self.plans, self.division, self.runner)
        self.plans.before_change.append(self.sharing.changing)
        self.plans.after_change.append(self.sharing.changed)
        self._update: DeviceUpdate | None = None
        self._is_timed = False
        self.launches_parts = False
        self._ran = [False] * len(net.nodes)  # whether a layer's forward has ever run

    @property
    def plan(self) -> Plan:
        """The current plan."""
        return self.plans.current

    @property
    def graphs(self) -> Graphs:
        """The graphs of the last runs."""
        return self.plans.graphs

    def _report(self, start: int, end: int) -> Report:
        return Report(self.net, self.gpu, self.arrays, self.range_errors, self.loss_scale, start, end)

    # -- running --------------------------------------------------------------------------------------------
    def forward(self, start: int, end: int) -> float:
        self._ran[start : end + 1] = [True] * (end + 1 - start)
        with self.gpu.active():
            self._begin()
            with self.sharing.forward(start, end):
                self.ranges.run("forward", start, end)
            loss = self._report(start, end).loss()
            self.arrays.end()
        return loss

    def backward(self, start: int, end: int) -> None:
        if not all(self._ran[end : start + 1]):
            run_missing(self.net.nodes, range(end, start + 1), self._ran, lambda i: self.forward(i, i))
        with self.gpu.active():
            self._begin()
            self.sharing.leave()
            self.ranges.run("backward", end, start)
            self.arrays.end()
            if self._is_timed:
                self.gpu.stream.synchronize()

    def forward_backward(self) -> float:
        """One forward and one backward pass; the loss. Backward is launched before the host waits for the loss."""
        last = len(self.net.nodes) - 1
        if is_watched(self.net):
            return super().forward_backward()
        return self._forward_and(lambda: self.ranges.run("backward", 0, last))

    def _forward_and(self, backward: Callable[[], None]) -> float:
        """Run forward, launch backward, and return the loss."""
        last = len(self.net.nodes) - 1
        self._ran = [True] * (last + 1)
        with self.gpu.active():
            self._begin()
            with self.sharing.training():
                self.sharing.save_parameters()
                self.ranges.run("forward", 0, last)
                report = self._report(0, last)
                backward()
            loss = report.loss()
            self.arrays.end()
        return loss

    def forward_backward_in_parts(self, ends: Sequence[int], ready: Callable[[int], None]) -> float:
        """As the base class. Without `launches_parts` `ready` is called when all of backward has been launched.

        With it, when the part has been: what `ready` adds to the GPU's stream runs behind it, and the host does not
        wait. Parts end where a group of layers does.
        """
        last = len(self.net.nodes) - 1
        if not self.launches_parts or is_watched(self.net):
            loss = self.forward_backward()
            for end in (last + 1, *ends):
                ready(end)
            return loss

        def backward() -> None:
            ready(last + 1)
            groups, start = self.division.groups(self.plan, 0, last, "backward"), last
            for end in ends:
                first = next(group.first for group in groups if group.last >= end)
                if first <= start:
                    self.ranges.run("backward", first, start)
                    start = first - 1
                ready(end)

        return self._forward_and(backward)

    # -- gradients that others change -------------------------------------------------------------------------
    def arrays_of(self, storages: Sequence[Storage], begin: bool = False) -> list[Any]:
        """The flat arrays of storages on the GPU, up to date. begin: not in the middle of a run. The GPU is active."""
        if begin:
            self._begin()
        return [self.arrays.of(storage) for storage in storages]

    def have_changed(self, storages: Sequence[Storage]) -> None:
        """Note that work on the GPU's stream, launched by others, has changed these arrays. The GPU is active."""
        for storage in storages:
            storage.notify_watchers()
            storage.wrote(self.gpu.place)
        self.arrays.end()

    def _begin(self) -> None:
        self.gpu.tf32, self.gpu.timed_plans = self.options.tf32, self.options.timed_plans
        self.arrays.begin()

    # -- solver -----------------------------------------------------------------------------------------------
    def clear_param_diffs(self) -> None:
        with self.gpu.active():
            self._begin()
            if self._update is not None and self._update.is_ready:
                self._update.refresh()
                self._update.clear()
            else:
                for param in [p for p in self.net.learnable if p.blob.count]:
                    storage = param.blob.diff_storage
                    with memory_for(self.net, self.gpu, param):
                        self.arrays.of(storage)[...] = 0
                    storage.wrote(self.gpu.place)
            self.arrays.end()

    def update(self, updater: Update, rate: float, iteration: int) -> None:
        if not DeviceUpdate.supports(updater):
            super().update(updater, rate, iteration)
            return
        with self.gpu.active():
            self._begin()
            update = self._update_of(updater)
            update.prepare(rate, iteration)
            update.launch()
            update.mark_newest()
            self.arrays.end()

    def _update_of(self, updater: Update) -> DeviceUpdate:
        if self._update is None or self._update.updater is not updater:
            self._update = DeviceUpdate(updater, self.net, self.gpu, self.arrays, self.loss_scale)
        return self._update

    def whole_step(self, updater: Update, rate: float, iteration: int) -> float | None:
        """A whole iteration, as one graph from its third run on. None where it cannot be one; `remarks` says why."""
        if is_watched(self.net) or not DeviceUpdate.supports(updater):
            return None
        last = len(self.net.nodes) - 1
        with self.gpu.active():
            if self.plans.is_outdated:
                self.plans.settle(0, last)
                if not self.plans.has_present():
                    return None
            update = self._update_of(updater)
            self.sharing.enter_training()
            whole = self._iteration_of(update)
            if whole.is_eager:
                return None
            self._ran = [True] * (last + 1)
            self._begin()
            with self.sharing.training():
                loss = whole.step(rate, iteration)
            self.arrays.end()
        return loss

    def _iteration_of(self, update: DeviceUpdate) -> Iteration:
        """The iteration for the present shapes, with its graph if there is one. Backward uses its groups then."""
        plan = self.plans.current
        self.division.groups(plan, 0, len(self.net.nodes) - 1, "forward")
        whole = plan.graphs.iteration
        if whole is None or not whole.serves(update):
            whole = plan.graphs.iteration = self._new_iteration(update)
        return whole

    def _new_iteration(self, update: DeviceUpdate) -> Iteration:
        net, gpu, arrays, last = self.net, self.gpu, self.arrays, len(self.net.nodes) - 1

        def run_from(start: int) -> float:
            self.ranges.run("forward", start, last)
            report = self._report(0, last)
            self.ranges.run("backward", 0, last)
            return report.loss()

        return Iteration(
            net, gpu, arrays, self.plans, self.division, self.runner, update=update, run_from=run_from,
            begin=self.sharing.save_parameters, own_watcher=self.sharing.watcher, of_present=self._iteration_of,
            new_loss=lambda: IterationLoss(net, gpu, arrays, self.range_errors, self.loss_scale, update),
        )  # fmt: skip

    # -- snapshots ----------------------------------------------------------------------------------------------
    def state(self) -> dict[str, float]:
        return {} if self.loss_scale is None else self.loss_scale.state()

    def load_state(self, values: Mapping[str, float]) -> None:
        if self.loss_scale is not None:
            self.loss_scale.load_state(values)

    # -- reports ------------------------------------------------------------------------------------------------
    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        self._is_timed = True
        try:
            return measure_layers(self, iterations, backward)
        finally:
            self._is_timed = False

    def describe(self) -> list[str]:
        notes = [""] * len(self.net.nodes)
        for group in self.plan.groups:
            joined = "" if group.last == group.first else f", with {group.nodes[1].name}"
            notes[group.first] = group.kind + (", channels last" if group.channels_last else "") + joined
            for i in range(group.first + 1, group.last + 1):
                notes[i] = f"in {group.nodes[0].name}"
        return notes

    def remarks(self) -> list[str]:
        """One line for each part of the last runs, whether it is replayed as a graph; then the memory."""
        parts = [*self.graphs.remarks(), *self.sharing.remarks(), *self.arrays.layouts.remarks()]
        if self.loss_scale is not None:
            parts.append(self.loss_scale.remark())
        return [*parts, f"Peak memory of the GPU: {self._peak_bytes() / 2**20:,.0f} MiB"]

    def segments(self, way: str) -> list[Segment]:
        """The parts of the last run over the whole net."""
        return self.graphs.segments.get((way, 0, len(self.net.nodes) - 1), [])

    def _peak_bytes(self) -> int:
        """Bytes of this process's memory pool and of this net's graphs, now or when the pool was larger."""
        with self.gpu.active():
            return max(self.gpu.most_pool_bytes, self.gpu.pool_bytes + self.plans.pool_bytes)


def _half_precision(dtype: np.dtype[Any] | None, arrays: Arrays, loss_scale: LossScale | None) -> HalfPrecision | None:
    if dtype is None:
        return None
    factors = (None, None) if loss_scale is None else (loss_scale.scale, loss_scale.inverse)
    return HalfPrecision(dtype, arrays.working, *factors)
