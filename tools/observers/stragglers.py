"""Warns once of each rank that the others wait for."""

from __future__ import annotations

from statistics import median

from dragon.solver.solver import Observer, Solver
from dragon.tools.common.logs import log

__all__ = ["Stragglers"]

_SLOWER, _LONGER = 1.25, 1.0  # times as long as the median of the ranks, and milliseconds longer
_ROW = 3  # displays in a row


class Stragglers(Observer):
    """Compares at each display how long the ranks read and compute, but for the first, at which nets prepare."""

    def __init__(self) -> None:
        self._first = True
        self._in_a_row: dict[int, int] = {}
        self._warned: set[int] = set()

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        own = [phases.read + phases.compute for phases in solver.phases]
        first, self._first = self._first, False
        if first or len(own) < 2:
            return
        usual = min(own) if len(own) == 2 else median(own)
        for rank, took in enumerate(own):
            slow = took > _SLOWER * usual and took > usual + _LONGER
            self._in_a_row[rank] = self._in_a_row.get(rank, 0) + 1 if slow else 0
            if self._in_a_row[rank] >= _ROW and rank not in self._warned:
                self._warned.add(rank)
                log.warning(
                    "the other ranks wait for rank %d: it reads and computes for %.1f ms an iteration, they for %.1f; "
                    "dragon plot --ranks shows all", rank, took, usual,
                )  # fmt: skip
