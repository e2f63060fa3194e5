"""The CUDA engine: a net's arrays and work on one GPU, steady parts replayed as CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.base import Executor, LayerTime, Options, is_watched, measure_layers, watched
from dragon.engines.cuda.device.arrays import Arrays
from dragon.engines.cuda.device.device import Gpu, open_gpu
from dragon.engines.cuda.device.graphs import Segment
from dragon.engines.cuda.device.precision import FLOAT16, PRECISIONS, Narrowing
from dragon.engines.cuda.plan.division import Division
from dragon.engines.cuda.plan.iteration import Iteration
from dragon.engines.cuda.plan.loss_scale import LossScale
from dragon.engines.cuda.plan.plan import Group, Plan
from dragon.engines.cuda.plan.report import Faults, Report
from dragon.engines.cuda.plan.running import GroupRunner
from dragon.engines.cuda.plan.sharing import Sharing
from dragon.engines.cuda.plan.types import Types
from dragon.engines.cuda.updating import DeviceUpdate
from dragon.errors import DragonError

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.graph.update import Update

__all__ = ["CudaExecutor"]


class CudaExecutor(Executor):
    name = "cuda"

    def __init__(self, net: Net, options: Options) -> None:
        super().__init__(net, options)
        self.gpu: Gpu = open_gpu(Options.default_device if options.device is None else options.device)
        narrow = PRECISIONS[options.precision] if net.context.dtype == np.float32 else None
        with self.gpu.active():
            self.loss_scale = LossScale(self.gpu) if narrow == FLOAT16 else None
        self.arrays = Arrays(self.gpu, Types(net, narrow), self.loss_scale)
        self._narrowing = self._narrow(narrow)
        self.division = Division(net)
        self.runner = GroupRunner(self)
        self.sharing = Sharing(self)
        self._plan: Plan | None = None
        self._version = -1
        self._segments: dict[tuple[str, int, int], list[Segment]] = {}
        self._iteration: Iteration | None = None
        self._update: DeviceUpdate | None = None
        self._clocked = False  # somebody times the runs
        with self.gpu.active():
            self.faults = Faults(self)

    # -- plan -----------------------------------------------------------------------------------------------
    @property
    def is_outdated(self) -> bool:
        """Whether shapes, memory or phases changed since the plan was made."""
        return self._version != self.net.context.where.version

    @property
    def plan(self) -> Plan:
        if self._plan is None or self.is_outdated:
            self.sharing.changed()
            self._plan = Plan(self.net, self.gpu, self.options.fuse, self._plan, self._narrowing)
            self.arrays.types = self._plan.types
            self._version = self.net.context.where.version
            self.forget_graphs()
            self.arrays.forget()
        return self._plan

    def _narrow(self, dtype: np.dtype[Any] | None) -> Narrowing | None:
        if dtype is None:
            return None
        scale = self.loss_scale
        factors = (None, None) if scale is None else (scale.scale, scale.inverse)
        return Narrowing(dtype, self.arrays.working, *factors)

    def forget_graphs(self) -> None:
        """Arrays moved, or others are needed."""
        self._segments.clear()
        self._iteration = None

    def settle(self, start: int, end: int) -> None:
        """Give all tops their shapes before the plan is made."""
        for i in range(start, end + 1):
            node = self.net.nodes[i]
            try:
                node.layer.reshape(node.bottoms, node.tops)
            except DragonError as error:
                error.at(node.layer.where)
                raise

    def _divide(self, way: str, start: int, end: int) -> list[Segment]:
        """Consecutive groups that may become one graph, and the others one by one."""
        if way == "forward":
            groups = self.division.groups(self.plan, start, end, way)
        else:
            groups = self.division.backward_groups(self.plan, start, end)
        known = self._segments.get((way, start, end))
        if known is not None and [g for s in known for g in s.groups] == groups:
            return known
        segments = self._segments[way, start, end] = []
        for group in groups:
            if segments and segments[-1].takes(group):
                segments[-1].groups.append(group)
            else:
                segments.append(Segment(self, way, group))
        return segments

    # -- running --------------------------------------------------------------------------------------------
    def forward(self, start: int, end: int) -> float:
        with self.gpu.active():
            self._begin()
            with self.sharing.forward(start, end):
                self.run_range("forward", start, end)
            loss = Report(self, start, end).loss()
            self.arrays.end()
        return loss

    def backward(self, start: int, end: int) -> None:
        with self.gpu.active():
            self._begin()
            self.sharing.leave()
            self.run_range("backward", end, start)
            self.arrays.end()
            if self._clocked:
                self.gpu.stream.synchronize()

    def forward_backward(self) -> float:
        """One pass each way. Backward is under way on the GPU before the loss has come from it."""
        last = len(self.net.nodes) - 1
        if is_watched(self.net):
            return super().forward_backward()
        with self.gpu.active():
            self._begin()
            self.sharing.leave()
            self.run_range("forward", 0, last)
            report = Report(self, 0, last)
            self.run_range("backward", 0, last)
            loss = report.loss()
            self.arrays.end()
        return loss

    def _begin(self) -> None:
        self.gpu.tf32 = self.options.tf32
        self.arrays.begin()

    def run_range(self, way: str, start: int, end: int) -> None:
        """Run layers start..end, start being the lower one, in the order of `way`. The GPU must be active."""
        if way == "forward" and self.is_outdated and not is_watched(self.net):
            self.settle(start, end)
        for group in self.division.take_apart(self.plan, start, end, way):
            self.runner.take_apart(group)
        if is_watched(self.net):
            groups = self.division.groups(self.plan, start, end, way)
            for group in groups if way == "forward" else reversed(groups):
                self._watched(way, group)
            return
        for segment in self._divide(way, start, end):
            rest = segment.run()
            if rest is not None and way == "forward":
                if rest <= end:
                    self.run_range(way, rest, end)
                break

    def _watched(self, way: str, group: Group) -> None:
        net, i = self.net, group.first
        with watched(net, way.capitalize(), i):
            self._begin()
            if way == "forward":
                self.runner.forward(group)
            elif net.nodes[i].need_backward:
                self.runner.backward(group)
            self.arrays.end()

    # -- solver -----------------------------------------------------------------------------------------------
    def clear_param_diffs(self) -> None:
        with self.gpu.active():
            self._begin()
            if self._update is not None and self._update.is_ready:
                self._update.refresh(self)
                self._update.clear(self)
            else:
                for param in [p for p in self.net.learnable if p.blob.count]:
                    storage = param.blob.diff_storage
                    with self.runner.memory_for(param):
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
            update.prepare(self, rate, iteration)
            update.launch(self)
            update.mark(self)
            self.arrays.end()

    def _update_of(self, updater: Update) -> DeviceUpdate:
        if self._update is None or self._update.updater is not updater:
            self._update = DeviceUpdate(updater)
        return self._update

    def whole_step(self, updater: Update, rate: float, iteration: int) -> float | None:
        """One graph for all of it, once shapes are settled; None where there can be none, which `remarks` explains."""
        if is_watched(self.net) or self._plan is None or self.is_outdated or not DeviceUpdate.supports(updater):
            return None
        with self.gpu.active():
            update = self._update_of(updater)
            if self._iteration is None or not self._iteration.serves(update):
                self._iteration = Iteration(self, update)
            if self._iteration.is_eager:
                return None
            self._begin()
            self.division.groups(self._plan, 0, len(self.net.nodes) - 1, "forward")
            loss = self._iteration.step(rate, iteration)
            self.arrays.end()
        return loss

    # -- snapshots ----------------------------------------------------------------------------------------------
    def state(self) -> dict[str, float]:
        return {} if self.loss_scale is None else self.loss_scale.state()

    def load_state(self, values: Mapping[str, float]) -> None:
        if self.loss_scale is not None:
            self.loss_scale.load_state(values)

    # -- telling ------------------------------------------------------------------------------------------------
    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        self._clocked = True
        try:
            return measure_layers(self, iterations, backward)
        finally:
            self._clocked = False

    def describe(self) -> list[str]:
        notes = [""] * len(self.net.nodes)
        for group in self.plan.groups:
            joined = "" if group.last == group.first else f", with {group.nodes[1].name}"
            notes[group.first] = group.kind + joined
            for i in range(group.first + 1, group.last + 1):
                notes[i] = f"in {group.nodes[0].name}"
        return notes

    def remarks(self) -> list[str]:
        """How the parts of the last runs are repeated, one line each; then the memory."""
        parts = [
            f"{way} {s.groups[0].nodes[0].name} .. {s.groups[-1].nodes[-1].name}: {s.state}"
            for (way, _, _), segments in self._segments.items()
            for s in segments
        ]
        if self._iteration is not None:
            parts.append(f"whole iteration: {self._iteration.state.replace('eager:', 'in parts:', 1)}")
        parts += self.sharing.remarks()
        if self.loss_scale is not None:
            parts.append(self.loss_scale.remark())
        return [*parts, f"Peak memory of the GPU: {self._peak_bytes() / 2**20:,.0f} MiB"]

    def segments(self, way: str) -> list[Segment]:
        """The parts of the last run over the whole net."""
        return self._segments.get((way, 0, len(self.net.nodes) - 1), [])

    def _peak_bytes(self) -> int:
        """Device memory of this process's pool and of this net's graphs, the most they ever needed."""
        graphs = [s.pool_bytes for segments in self._segments.values() for s in segments]
        if self._iteration is not None:
            graphs.append(self._iteration.pool_bytes)
        with self.gpu.active():
            return int(self.gpu.cupy.get_default_memory_pool().total_bytes()) + sum(graphs)
