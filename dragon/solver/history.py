"""History: the losses of a training and the outputs of its tests, for pictures of its course."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dragon.memory.storage import Array
from dragon.solver.observer import Observer

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["History", "Scores"]

_MOST = 2000  # points; beyond them every second one is left out


class Scores(NamedTuple):
    """What a test gave: the iteration, which test net, and the mean of each output that is one number."""

    iteration: int
    net: int
    outputs: dict[str, float]


class History(Observer):
    """Keeps smoothed losses, as pairs (iteration, loss), and the scores of tests, both thinned out in long trainings.

    losses, tests: oldest first. Going back to a snapshot removes what came after it.
    """

    def __init__(self) -> None:
        self._iterations, self._values = array("q"), array("d")  # of losses: 16 bytes each, a pair is 150
        self.tests: list[Scores] = []
        self._stride = 1  # iterations from one point to the next

    @property
    def losses(self) -> list[tuple[int, float]]:
        """The pairs (iteration, loss), in a new list."""
        return list(zip(self._iterations, self._values, strict=True))

    @losses.setter
    def losses(self, pairs: list[tuple[int, float]]) -> None:
        self._iterations = array("q", (iteration for iteration, _ in pairs))
        self._values = array("d", (loss for _, loss in pairs))

    def on_step(self, solver: Solver) -> None:
        now = solver.iter
        if self._iterations and self._iterations[-1] > now:
            self.losses = [one for one in self.losses if one[0] <= now]
        if self.tests and self.tests[-1].iteration > now:
            self.tests = [test for test in self.tests if test.iteration <= now]

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        if solver.iter % self._stride:
            return
        self._iterations.append(solver.iter)
        self._values.append(loss)
        if len(self._iterations) >= _MOST:
            self._stride *= 2
            self.losses = [one for one in self.losses if one[0] % self._stride == 0]

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        values = {name: float(np.ravel(value)[0]) for name, value in scores.items() if value.size == 1}
        self.tests.append(Scores(solver.iter, index, values))
        if len(self.tests) >= _MOST:
            self.tests = self.tests[::2]
