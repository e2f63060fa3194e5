"""Observer: what whoever watches a solver (log, progress bar, metrics) is called with."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["Observer"]


class Observer:
    """Base of objects that follow a training run: each method is called at an event and does nothing by default."""

    def on_start(self, solver: Solver) -> None:
        """Training begins, or resumes, at solver.iter."""

    def on_step(self, solver: Solver) -> None:
        """`step` is called, by `solve` or by a script; solver.iter iterations are done."""

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        """An update with learning rate `rate` was applied, the solver.iter-th; `loss` is the smoothed loss."""

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        """As on_iteration, but every `display` iterations and before the update, while the net holds its outputs."""

    def on_test_start(self, solver: Solver, index: int) -> None:
        """Test net `index` is about to run."""

    def on_test_batch(self, solver: Solver, index: int, done: int, total: int) -> None:
        """`done` of `total` test batches have run."""

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        """Test net `index` has run; `scores` are its outputs, averaged over the batches."""

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        """A snapshot has been written."""

    def on_end(self, solver: Solver) -> None:
        """Training ended, was stopped, or failed: then solver.failure is the reason."""
