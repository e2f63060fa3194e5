"""A whole training iteration as one CUDA graph: gradients cleared, forward, backward, update."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from dragon.engines.cuda.device.graphs import Captured, is_capturable
from dragon.engines.cuda.kernels.solver import judge
from dragon.engines.cuda.plan.report import Report, losses_of, pinned
from dragon.engines.cuda.updating import DeviceUpdate
from dragon.errors import EngineError

if TYPE_CHECKING:
    from dragon.engines.cuda.executor import CudaExecutor

__all__ = ["Iteration"]


class Verdict:
    """The loss of an iteration, and whether a label was no class: found on the GPU, where the update waits for it.

    The host has it while backward still runs: it watches memory that the graph copies the result to.
    """

    def __init__(self, executor: CudaExecutor, update: DeviceUpdate) -> None:
        self._executor = executor
        self._update = update
        self._sums = executor.gpu.zeros(4, np.float64)  # number of the step, loss, any fault, number again
        self._host = pinned(executor.gpu, self._sums)
        self._host[...] = -1
        self._loss_scale = executor.loss_scale
        self._scale = None if self._loss_scale is None else pinned(executor.gpu, self._loss_scale.array)

    def launch(self) -> None:
        """After the forward, now or into the graph that is being captured."""
        executor, gpu = self._executor, self._executor.gpu
        losses = losses_of(executor.net, 0, len(executor.net.nodes) - 1)
        faults = executor.faults.array
        for k, (top, weight) in enumerate(losses):
            array = executor.arrays.of(top.data_storage)
            judge(
                gpu, array.dtype, loss=array, faults=faults, sums=self._sums, step=self._update.step,
                count=top.count, layers=faults.size, weight=float(weight), first=k == 0, last=k == len(losses) - 1,
            )  # fmt: skip
        if self._loss_scale is not None and self._scale is not None:  # before the sums, whose coming is waited for
            array = self._loss_scale.array
            array.data.copy_to_host_async(self._scale.ctypes.data, array.nbytes, gpu.stream)
        self._sums.data.copy_to_host_async(self._host.ctypes.data, self._sums.nbytes, gpu.stream)

    def loss(self) -> float:
        """Wait for the forward. DataError for a label that is no class."""
        gpu = self._executor.gpu
        while not self._has_come() and gpu.is_busy:
            time.sleep(0)  # threads that read ahead need the interpreter
        if not self._has_come():
            gpu.stream.synchronize()
        if not self._has_come():
            raise EngineError("the GPU ended an iteration without a loss")
        if self._host[2]:
            self._executor.faults.raise_for(self._executor.faults.array.get())
        if self._loss_scale is not None and self._scale is not None:
            self._loss_scale.heard(self._scale)
        return float(self._host[1])

    def _has_come(self) -> bool:
        return bool(self._host[3] == self._update.number == self._host[0])


class Iteration(Captured):
    """Layers that read data run first, on the host; the rest is the graph. `state` says why if it cannot be one."""

    def __init__(self, executor: CudaExecutor, update: DeviceUpdate) -> None:
        super().__init__(executor)
        self.update = update
        last = len(executor.net.nodes) - 1
        forward = executor.division.groups(executor.plan, 0, last, "forward")
        self._backward = executor.division.backward_groups(executor.plan, 0, last)
        start = next((i for i, g in enumerate(forward) if is_capturable(executor, g)), len(forward))
        self._sources, self._forward = forward[:start], forward[start:]
        self._settings = update.settings()
        why = self._obstacle()
        if why is None:
            self._verdict = Verdict(executor, update)
        else:
            self.state = f"eager: {why}"

    def _obstacle(self) -> str | None:
        net = self._executor.net
        for group in [*self._forward, *self._backward]:
            if not is_capturable(self._executor, group):
                return f"{group.nodes[0].name} runs by {group.kind}"
        sources, last = len(self._sources), len(net.nodes) - 1
        if losses_of(net, 0, sources - 1) or not losses_of(net, sources, last):
            return "there is no loss on the GPU"
        return None if self.update.has_work else "nothing is learned"

    def serves(self, update: DeviceUpdate) -> bool:
        """Whether this is still the iteration that `update` asks for."""
        return self.update is update and self._settings == update.settings()

    def step(self, rate: float, iteration: int) -> float:
        """Run it; the loss. Weights stay if that is not finite. DataError for a label that is no class."""
        executor = self._executor
        self.update.prepare(executor, rate, iteration)
        for group in self._sources:
            executor.runner.forward(group)
            if executor.is_outdated:
                return self._apart(group.last + 1)
        rest = self.run()
        return self._verdict.loss() if rest is None else self._apart(rest)

    def _apart(self, start: int) -> float:
        """Shapes changed on the way, before layer `start`: the rest goes as any other run."""
        executor, last = self._executor, len(self._executor.net.nodes) - 1
        self.update.clear(executor)
        executor.run_range("forward", start, last)
        report = Report(executor, 0, last)
        executor.run_range("backward", 0, last)
        loss = report.loss()
        if math.isfinite(loss):
            self.update.prepare(executor, *self.update.asked)
            self.update.launch(executor)
            self.update.mark(executor)
        return loss

    def _eager(self) -> int | None:
        executor = self._executor
        self.update.clear(executor)
        for group in self._forward:
            executor.runner.forward(group)
            if executor.is_outdated:
                return group.last + 1
        self._rest()
        return None

    def _record(self) -> None:
        self.update.clear(self._executor)
        for group in self._forward:
            self._executor.runner.forward(group, prepare=False, reshape=False)
        self._rest()

    def _rest(self) -> None:
        self._verdict.launch()
        for group in self._backward:
            self._executor.runner.backward(group)
        self.update.launch(self._executor)
        self.update.mark(self._executor)

    def _prepare(self) -> None:
        for group in self._forward:
            self._executor.runner.prepare(group)

    def _replay(self) -> None:
        super()._replay()
        self.update.mark(self._executor)
