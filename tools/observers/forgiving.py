"""An observer wrapper: failed writes, as on a full disk or a closed terminal, and faults do not end the training."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from dragon.errors import text_of
from dragon.memory.storage import Array
from dragon.solver.solver import Observer, Solver
from dragon.tools.common.logs import log

__all__ = ["Forgiving"]


class Forgiving(Observer):
    """Forwards all events to another observer, and turns its OSErrors into warnings.

    After any other exception it is dropped, with a warning, but for `on_end`. Not at the start: before anything is
    trained, a file that cannot be written is an error.

    what: what the other observer writes, for the warning, such as `metrics.jsonl`.
    """

    def __init__(self, inner: Observer, what: str) -> None:
        self.inner = inner
        self._what = what
        self._warned = False
        self._dropped = False

    def call(self, call: Callable[..., None], *values: Any) -> None:
        """Call a function, and turn its exception into a warning, the first time."""
        if self._dropped and call != self.inner.on_end:
            return
        try:
            call(*values)
        except OSError as error:
            if not self._warned:
                self._warned = True
                log.warning("%s cannot be written (%s); training goes on", self._what, error.strerror or error)
        except Exception as error:
            if not self._dropped:
                self._dropped = True
                what = f"{type(error).__name__}: {text_of(error)}"
                log.warning("%s failed (%s); training goes on without that", self._what, what)

    def on_start(self, solver: Solver) -> None:
        self.inner.on_start(solver)

    def on_step(self, solver: Solver) -> None:
        self.call(self.inner.on_step, solver)

    def on_iteration(self, solver: Solver, loss: float, rate: float) -> None:
        self.call(self.inner.on_iteration, solver, loss, rate)

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        self.call(self.inner.on_display, solver, loss, rate)

    def on_test_start(self, solver: Solver, index: int) -> None:
        self.call(self.inner.on_test_start, solver, index)

    def on_test_batch(self, solver: Solver, index: int, done: int, total: int) -> None:
        self.call(self.inner.on_test_batch, solver, index, done, total)

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        self.call(self.inner.on_test, solver, index, scores)

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self.call(self.inner.on_snapshot, solver, model, state)

    def on_end(self, solver: Solver) -> None:
        self.call(self.inner.on_end, solver)
