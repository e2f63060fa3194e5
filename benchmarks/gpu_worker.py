"""What the workers of the GPU benchmarks share: candidates that are timed by the wall's clock and by the GPU's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks._harness import Step

__all__ = ["Clock", "Timer"]


@dataclass(frozen=True)
class Clock:
    """How a worker waits for the GPU. event: one recorded now in the stream of the steps; None without a GPU."""

    wait: Callable[[], object]
    event: Callable[[], Any] | None = None
    between: Callable[[Any, Any], float] | None = None  # milliseconds from one event to another


@dataclass
class Timer:
    """Candidates by name, each with its clock."""

    candidates: dict[str, tuple[Step, Clock]] = field(default_factory=dict)

    def add(self, name: str, step: Step, clock: Clock) -> None:
        """Add a candidate, or put another in its place."""
        self.candidates[name] = step, clock

    def time(self, candidate: str, count: int) -> dict[str, float | None]:
        """Milliseconds per step over `count` steps, after one that is not counted, by both clocks."""
        step, clock = self.candidates[candidate]
        step()
        clock.wait()
        begin, first = time.perf_counter(), clock.event() if clock.event else None
        for _ in range(count):
            step()
        last = clock.event() if clock.event else None
        clock.wait()
        wall = (time.perf_counter() - begin) / count * 1e3
        return {"wall": wall, "gpu": clock.between(first, last) / count if clock.between else None}
