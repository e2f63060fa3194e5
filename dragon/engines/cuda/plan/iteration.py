"""A whole training iteration as one CUDA graph: gradients cleared, forward, backward, update."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.device.graphs import Captured
from dragon.engines.cuda.device.pinned import Pinned
from dragon.engines.cuda.kernels.solver import check_loss
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.division import Division
from dragon.engines.cuda.plan.gradients import first_writers
from dragon.engines.cuda.plan.loss_scale import STATE, LossScale
from dragon.engines.cuda.plan.plan import Group
from dragon.engines.cuda.plan.plans import Plans
from dragon.engines.cuda.plan.report import RangeErrors, losses_of
from dragon.engines.cuda.plan.running import GroupRunner, has_host_part
from dragon.engines.cuda.plan.segments import is_capturable
from dragon.engines.cuda.updating import DeviceUpdate
from dragon.errors import EngineError

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Iteration"]

REPORTED = 3  # number of the step, loss, whether a label was out of range; then the loss scale: as in solver.cu


class IterationLoss:
    """The loss of an iteration, and whether a label was out of range, both computed on the GPU before the update.

    The kernel writes them to pinned memory, which the host polls while backward still runs.
    """

    def __init__(
        self,
        net: Net,
        gpu: Gpu,
        arrays: Arrays,
        range_errors: RangeErrors,
        loss_scale: LossScale | None,
        update: DeviceUpdate,
    ) -> None:
        self._net = net
        self._gpu = gpu
        self._arrays = arrays
        self._range_errors = range_errors
        self._update = update
        self._total = gpu.zeros(1, np.float64)
        self._host = Pinned(gpu, REPORTED + STATE, np.float64)
        self._host.array[...] = -1
        self._host.used_by(gpu.stream)
        self._loss_scale = loss_scale

    def launch(self) -> None:
        """Launch the check after forward, at once or into the graph that is being captured."""
        range_errors, loss_scale = self._range_errors.array, self._loss_scale
        losses = losses_of(self._net, 0, len(self._net.nodes) - 1)
        for k, (top, weight) in enumerate(losses):
            array = self._arrays.of(top.data_storage)
            check_loss(
                self._gpu, array.dtype, loss=array, out_of_range=range_errors, total=self._total,
                step=self._update.step, scale=None if loss_scale is None else loss_scale.array,
                report=self._host.address, count=top.count, layers=range_errors.size, weight=float(weight),
                first=k == 0, last=k == len(losses) - 1,
            )  # fmt: skip

    def wait(self) -> float:
        """Wait for forward and return the loss. DataError for a label that is out of range."""
        gpu = self._gpu
        while not self._has_arrived() and gpu.is_busy:
            time.sleep(0)  # lets threads that read ahead run
        if not self._has_arrived():
            gpu.stream.synchronize()
        if not self._has_arrived():
            raise EngineError("the GPU ended an iteration without a loss")
        _, loss, any_out_of_range, *scale = self._host.array
        if any_out_of_range:
            self._range_errors.raise_for(self._range_errors.array.get())
        if self._loss_scale is not None:
            self._loss_scale.check(np.array(scale))
        return float(loss)

    def _has_arrived(self) -> bool:
        return bool(self._host.array[0] == self._update.number)


class Iteration(Captured):
    """A training iteration. Sources run first, on the host; all other layers, backward and update are one graph.

    begin: launches what precedes the pass. new_loss: makes the IterationLoss. run_from: runs forward from a layer on
    and then backward, without this graph, and returns the loss. of_present: finds or makes the iteration for the shapes
    that the net has when it is called. own_watcher: see Captured.
    """

    name = "whole iteration"

    def __init__(
        self, net: Net, gpu: Gpu, arrays: Arrays, plans: Plans, division: Division, runner: GroupRunner, *,
        update: DeviceUpdate, begin: Callable[[], None], new_loss: Callable[[], IterationLoss],
        run_from: Callable[[int], float], of_present: Callable[[DeviceUpdate], Iteration],
        own_watcher: weakref.ref[Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(gpu, arrays, own_watcher=own_watcher)
        self._net = net
        self._plans = plans
        self._runner = runner
        self._begin = begin
        self._run_from = run_from
        self._of_present = of_present
        self.update = update
        last = len(net.nodes) - 1
        forward = division.groups(plans.current, 0, last, "forward")
        self._backward = division.backward_groups(plans.current, 0, last)
        start = next((i for i, g in enumerate(forward) if is_capturable(g)), len(forward))
        self._sources, self._forward = forward[:start], forward[start:]
        self._preparing = [group for group in self._forward if has_host_part(group)]
        self._settings = update.settings()
        self._starts = first_writers(self._backward, update.gradients)
        self._started = frozenset().union(*self._starts.values())
        why = self._obstacle()
        if why is None:
            self._loss = new_loss()
        else:
            self.state = f"eager: {why}"

    def _obstacle(self) -> str | None:
        net = self._net
        for group in [*self._forward, *self._backward]:
            if not is_capturable(group):
                return f"{group.nodes[0].name} runs by {group.kind}"
        sources, last = len(self._sources), len(net.nodes) - 1
        if losses_of(net, 0, sources - 1) or not losses_of(net, sources, last):
            return "there is no loss on the GPU"
        return None if self.update.has_work else "nothing is learned"

    def serves(self, update: DeviceUpdate) -> bool:
        """Whether this graph computes `update` with its present settings."""
        return self.update is update and self._settings == update.settings()

    def step(self, rate: float, iteration: int) -> float:
        """Run the iteration and return the loss. Where that is not finite the weights stay as they were.

        DataError for a label that is out of range.
        """
        self.update.prepare(rate, iteration)
        for i, group in enumerate(self._sources, 1):
            self._runner.forward(group)
            if self._plans.is_outdated and not all(later.on_host for later in self._sources[i:]):
                return self._finish(group.last + 1)
        return self._elsewhere(rate, iteration) if self._plans.is_outdated else self._rest_of_step()

    def _rest_of_step(self) -> float:
        resume = self.run()
        return self._loss.wait() if resume is None else self._finish(resume)

    def _elsewhere(self, rate: float, iteration: int) -> float:
        """Finish an iteration whose sources have changed the shapes by the graph for those, or on the way to one."""
        start = self._sources[-1].last + 1
        self._plans.settle(start, len(self._net.nodes) - 1)
        other = self._of_present(self.update)
        if other.is_eager or len(other._sources) != len(self._sources):
            return self._finish(start)
        self.update.prepare(rate, iteration)
        return other._rest_of_step()

    def _finish(self, start: int) -> float:
        """Finish an iteration in which shapes changed before layer `start`, without a graph."""
        self.update.clear()
        loss = self._run_from(start)
        if math.isfinite(loss):
            self.update.prepare(*self.update.asked)
            self.update.launch()
            self.update.mark_newest()
        return loss

    @contextmanager
    def _starting(self, group: Group) -> Iterator[None]:
        """Within the block a group runs backward that writes the gradients which are not cleared before."""
        fresh, lowering = set(self._starts.get(group.first, ())), group.lowering
        if lowering is None or not fresh:
            yield
            return
        lowering.fresh = fresh
        try:
            yield
            if fresh:
                raise EngineError("a gradient was not written", layer=group.layer.where)
        finally:
            lowering.fresh = set()

    def _eager(self) -> int | None:
        self._gpu.send_staged()
        self.update.clear(self._started)
        self._begin()
        for group in self._forward:
            self._runner.forward(group)
            if self._plans.is_outdated:
                return group.last + 1
        self._rest()
        return None

    def _record(self) -> None:
        self.update.clear(self._started)
        self._begin()
        for group in self._forward:
            self._runner.forward(group, prepare=False, reshape=False)
        self._rest()

    def _rest(self) -> None:
        self._loss.launch()
        for group in self._backward:
            with self._starting(group):
                self._runner.backward(group)
        self.update.launch()
        self.update.mark_newest()

    def _prepare(self) -> None:
        for group in self._preparing:
            self._runner.prepare(group)

    def _replay(self) -> None:
        super()._replay()
        self.update.mark_newest()
