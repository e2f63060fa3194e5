"""How many iterations fit into a time budget."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

from dragon.compare.plan import Plan, Run

__all__ = ["Speeds", "affordable", "measuring_s"]

Speeds = Mapping[str, Mapping[str, Any]]  # by variant: "iteration_s" and "test_batch_s"


def measuring_s(plan: Plan, speeds: Speeds, pair_s: float) -> float:
    """Estimated seconds for measuring pairs, each for pair_s, and memory."""
    step = max(float(s["iteration_s"]) for s in speeds.values())
    settings = 1 if plan.engine == "numpy" else 2
    pairs = len(plan.comparison.equal) * (settings * max(pair_s, 10 * step) + 4 + 20 * step)
    return pairs + len(plan.comparison.variants) * (2 + 4 * step)


def affordable(plan: Plan, speeds: Speeds, jobs: int, seconds: float) -> int:
    """Iterations per run, with `jobs` side by side: a multiple of the test interval and at least one of those.

    With `equal_images` those of the longest run; the others have fewer, in proportion.
    """
    interval = max(run.solver.test_interval for run in plan.runs)

    def cost(run: Run) -> float:
        speed = speeds[run.variant]
        tests = sum(run.solver.test_iter) * float(speed["test_batch_s"]) / run.solver.test_interval
        share = run.solver.test_interval / interval if plan.comparison.equal_images else 1.0
        return (float(speed["iteration_s"]) + tests) * share

    ends = [0.0] * jobs
    for run in plan.runs:
        heapq.heapreplace(ends, ends[0] + cost(run))
    return max(1, int(seconds / max(ends) / interval)) * interval
