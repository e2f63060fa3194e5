"""Graphs: the CUDA graphs of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dragon.engines.cuda.plan.iteration import Iteration
    from dragon.engines.cuda.plan.segments import Segment

__all__ = ["Graphs"]


class Graphs:
    """The graphs of a plan: `segments` by direction and range, and that of a whole iteration."""

    def __init__(self) -> None:
        self.segments: dict[tuple[str, int, int], list[Segment]] = {}
        self.iteration: Iteration | None = None

    def forget(self) -> None:
        """Drop all graphs, since arrays have moved."""
        self.segments.clear()
        self.iteration = None

    @property
    def pool_bytes(self) -> int:
        """Device memory that only these graphs use."""
        found = sum(s.pool_bytes for segments in self.segments.values() for s in segments)
        return found + (0 if self.iteration is None else self.iteration.pool_bytes)

    def remarks(self) -> list[str]:
        """How the parts of the last runs are repeated, one line each."""
        parts = [f"{s.name}: {s.state}" for segments in self.segments.values() for s in segments]
        if self.iteration is not None:
            parts.append(f"{self.iteration.name}: {self.iteration.state.replace('eager:', 'in parts:', 1)}")
        return parts
