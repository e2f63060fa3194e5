"""Signals that ask a running solver for a snapshot or a stop, as in Caffe."""

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
_PATIENCE = 1.0  # seconds
_SAID = {
    "stop": "stopping after this iteration, with a snapshot",
    "snapshot": "writing a snapshot after this iteration",
}
_AGAIN = "; Ctrl-C once more ends at once, without one"


def _say(text: str) -> None:
    """A line on stderr, past all buffers: a signal may come while one of them is being written."""
    with suppress(OSError):
        os.write(2, f"\ndragon: {text}\n".encode())


@contextmanager
def solver_signals(solver: Solver, sigint: str = "stop", sighup: str = "snapshot") -> Iterator[None]:
    """While the block runs: SIGINT and SIGHUP have these effects, SIGTERM stops.

    A stop writes a snapshot first, and a line on stderr says so at once. A second SIGINT ends the run without one, but
    not within a second of the first: a key that bounces, or a terminal and a parent that both send it, loses nothing.
    """
    asked: list[float] = []  # when SIGINT first asked for a stop

    def ask(effect: str) -> Any:
        def handler(number: int, frame: FrameType | None) -> None:
            if effect == "none":
                return
            if effect == "stop" and number == signal.SIGINT:
                now = time.monotonic()
                if asked and now - asked[0] >= _PATIENCE:
                    raise KeyboardInterrupt
                asked.append(now)
            _say(_SAID[effect] + (_AGAIN if effect == "stop" and number == signal.SIGINT else ""))
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
