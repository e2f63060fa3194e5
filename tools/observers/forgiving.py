"""An observer wrapper: failed writes, as on a full disk or a closed terminal, and faults do not end the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dragon.errors import text_of
from dragon.solver.observer import Forwarding, Observer
from dragon.solver.solver import Solver
from dragon.tools.common.logs import log

__all__ = ["Forgiving"]


class Forgiving(Forwarding):
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

    def forward(self, event: str, *values: Any) -> None:
        """Hand an event to the other observer."""
        self.call(getattr(self.inner, event), *values)
