"""Observer: what whoever watches a solver (log, progress bar, metrics) is called with. See docs/observers.md."""

from __future__ import annotations

import logging
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dragon.errors import text_of
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.solver.solver import Solver

__all__ = ["Forwarding", "Guarded", "Observer"]

_log = logging.getLogger("dragon")


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


class Forwarding(Observer):
    """Hands each event to `forward`, by the name of its method and with its values."""

    def forward(self, event: str, *values: Any) -> None:
        """An event happened."""
        raise NotImplementedError

    def on_start(self, solver: Solver) -> None:
        self.forward("on_start", solver)

    def on_step(self, solver: Solver) -> None:
        self.forward("on_step", solver)

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        self.forward("on_iteration", solver, loss, rate)

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        self.forward("on_display", solver, loss, rate)

    def on_test_start(self, solver: Solver, index: int) -> None:
        self.forward("on_test_start", solver, index)

    def on_test_batch(self, solver: Solver, index: int, done: int, total: int) -> None:
        self.forward("on_test_batch", solver, index, done, total)

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        self.forward("on_test", solver, index, scores)

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self.forward("on_snapshot", solver, model, state)

    def on_end(self, solver: Solver) -> None:
        self.forward("on_end", solver)


@contextmanager
def _alone(solver: Solver, what: str) -> Iterator[None]:
    """Within the block, a net that needs all ranks is refused."""
    ranks = solver.ranks
    if ranks is not None:
        ranks.alone = what
    try:
        yield
    finally:
        if ranks is not None:
            ranks.alone = ""


class Guarded(Forwarding):
    """Forwards all events to another observer, and drops it with a warning at its first exception.

    A `sys.exit` in it counts as one. KeyboardInterrupt is passed on. It runs on one of several ranks, so what needs all
    of them raises an error in it. name: what the warning calls the observer.
    """

    def __init__(self, inner: Observer, name: str | None = None) -> None:
        self.inner: Observer | None = inner
        self._name = name or f"{type(inner).__module__}:{type(inner).__qualname__}"

    def forward(self, event: str, *values: Any) -> None:
        if self.inner is None:
            return
        try:
            with _alone(values[0], f"observer {self._name}"):
                getattr(self.inner, event)(*values)
        except (Exception, SystemExit) as error:
            self.inner = None
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = f": {text_of(error)}" if text_of(error) else ""
            _log.warning(
                "observer %s failed in %s: %s%s (%s, line %s); training goes on without it",
                self._name, event, type(error).__name__, text, last.filename, last.lineno,
            )  # fmt: skip
