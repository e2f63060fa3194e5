"""Measures the speed of training, without the time for tests and snapshots."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from dragon.graph.outputs import batch_size
from dragon.memory.storage import Array
from dragon.solver.observer import Observer

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["Lap", "Meter"]

_WINDOW = 50  # iterations over which the speed is smoothed


class Meter(Observer):
    """Counts iterations and their seconds. It must be the first observer, so that others read current values."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._mark = 0.0
        self._test_began = 0.0
        self.images = 1  # in one iteration
        self.iterations = 0
        self.seconds = 0.0
        self.test_seconds = 0.0  # of the last test
        self._mean = 0.0

    def on_start(self, solver: Solver) -> None:
        self.images = batch_size(solver.net) * solver.param.iter_size
        self._mark = self._clock()

    def on_step(self, solver: Solver) -> None:
        self.on_start(solver)  # what a script does between two steps is no training

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        now = self._clock()
        took = now - self._mark
        self._mark = now
        self.seconds += took
        self.iterations += 1
        self._mean += (took - self._mean) / min(self.iterations, _WINDOW)

    def on_test_start(self, solver: Solver, index: int) -> None:
        self._test_began = self._clock()

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        self._mark = self._clock()
        self.test_seconds = self._mark - self._test_began

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self.skip()

    def skip(self) -> None:
        """Leave out the time since the last iteration, which was not spent on training."""
        self._mark = self._clock()

    @property
    def images_per_second(self) -> float:
        """Images per second of training, smoothed; 0 before the first iteration."""
        return self.images / self._mean if self._mean else 0.0

    def seconds_left(self, solver: Solver) -> float | None:
        """Estimated seconds of training and tests that are left; None before the first iteration."""
        if not self._mean:
            return None
        p = solver.param
        left = max(0, p.max_iter - solver.iter)
        tests = (p.max_iter // p.test_interval - solver.iter // p.test_interval) if p.test_interval else 0
        return left * self._mean + tests * self.test_seconds * len(solver.test_nets)


class Lap:
    """Counts iterations and seconds between calls of `take`."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._seen = meter.iterations, meter.seconds

    def take(self) -> tuple[int, float]:
        """Iterations and their seconds since the last call."""
        iterations, seconds = self._seen
        self._seen = self._meter.iterations, self._meter.seconds
        return self._seen[0] - iterations, self._seen[1] - seconds
