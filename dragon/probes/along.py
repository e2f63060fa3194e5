"""Along the gradient: losses and gradients at points on the line from the weights against the gradient of one batch.

w - eta g, with g the gradient of the batch at w and eta from `low` to `high` times the learning rate, at equal
distances. Santurkar et al. 2018 (arXiv 1805.11604) look from 1/2 to 4 times the rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragon.probes.arithmetic import distance, moved, norm
from dragon.probes.probe import Probe, setting
from dragon.probes.run import Run

__all__ = ["AlongGradient", "Line", "Point"]


@dataclass(frozen=True)
class Point:
    """A place on the line. step: eta. change: |g(w) - g(w - eta g)| for the same batch."""

    step: float
    loss: float
    change: float


@dataclass(frozen=True)
class Line:
    """Loss and norm of the gradient at the present weights, and the places from `low` to `high`."""

    loss: float
    norm: float
    points: list[Point]


@dataclass(kw_only=True, eq=False)
class AlongGradient(Probe):
    """Base of probes that look along the gradient of one probe batch."""

    low: float = setting(0.5, "the shortest step, in learning rates", least=0)
    high: float = setting(4.0, "the longest step, in learning rates", least=0)
    points: int = setting(8, "how many steps", least=1, most=1000)
    rate: float | None = setting(None, "the learning rate; by default the solver's at that time", least=0)
    batch_size: int = setting(0, "images in the probe batch; 0: as many as in training", least=0)

    def check(self) -> None:
        if self.low > self.high:
            raise self.wrong(f"low must not be above high, got {self.low:g} and {self.high:g}")

    def line(self, run: Run) -> Line:
        """What is found along the gradient; probes that look at the same line share it."""
        rate = run.rate(self.rate)
        key = (AlongGradient, self.low, self.high, self.points, rate, self.batch_size)
        return run.shared(key, lambda: self._look(run, rate))

    def _look(self, run: Run, rate: float) -> Line:
        net, batch = run.net, run.batch(0, self.batch_size)
        loss, gradient = net.gradient(batch)
        weights, points = net.weights(), []
        for factor in np.linspace(self.low, self.high, self.points):
            net.set_weights(moved(weights, -float(factor) * rate, gradient))
            there, changed = net.gradient(batch)
            points.append(Point(float(factor) * rate, there, distance(gradient, changed)))
        return Line(loss, norm(*gradient), points)
