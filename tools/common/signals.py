"""Signal handlers that make a running solver write a snapshot or stop, as in Caffe."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from dragon.solver.solver import Solver

__all__ = ["EFFECTS", "solver_signals"]

EFFECTS = ("stop", "snapshot", "none")
_BOUNCE_SECONDS = 1.0  # seconds
_MESSAGES = {
    "stop": "stopping after this iteration, with a snapshot",
    "snapshot": "writing a snapshot after this iteration",
}
_SECOND_TIME = "; Ctrl-C once more ends at once, without one"


def _say(text: str) -> None:
    """Write a line to stderr without its buffer, which may be in use when a signal arrives."""
    with suppress(OSError):
        os.write(2, f"\ndragon: {text}\n".encode())


@contextmanager
def solver_signals(solver: Solver, sigint: str = "stop", sighup: str = "snapshot") -> Iterator[None]:
    """Give SIGINT and SIGHUP these effects in the block, and let SIGTERM stop the solver.

    A stop writes a snapshot first; a line on stderr says so at once. A second SIGINT ends the run without a snapshot,
    unless it comes within a second of the first: then it is taken for the same one, sent twice.
    """
    asked: list[float] = []  # when SIGINT first asked for a stop

    def ask(effect: str) -> Any:
        def handler(number: int, frame: FrameType | None) -> None:
            if effect == "none":
                return
            if effect == "stop" and number == signal.SIGINT:
                now = time.monotonic()
                if asked and now - asked[0] >= _BOUNCE_SECONDS:
                    raise KeyboardInterrupt
                asked.append(now)
            _say(_MESSAGES[effect] + (_SECOND_TIME if effect == "stop" and number == signal.SIGINT else ""))
            solver.request(effect)

        return handler

    wanted = {signal.SIGINT: ask(sigint), signal.SIGTERM: ask("stop")}
    if hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = ask(sighup)
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
