"""Signals that ask a running solver for a snapshot or a stop, as in Caffe."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dragon.solver.solver import Solver

__all__ = ["EFFECTS", "solver_signals"]

EFFECTS = ("stop", "snapshot", "none")


@contextmanager
def solver_signals(solver: Solver, sigint: str = "stop", sighup: str = "snapshot") -> Iterator[None]:
    """While the block runs: SIGINT and SIGHUP have these effects, SIGTERM stops.

    A stop writes a snapshot first. A second SIGINT after one that stops ends the run at once.
    """

    def ask(effect: str) -> Any:
        def handler(number: int, frame: FrameType | None) -> None:
            if effect == "none":
                return
            if effect == "stop" and number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)
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
