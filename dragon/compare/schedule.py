"""How long a run trains: iterations, tests, and learning-rate schedules in proportion."""

from __future__ import annotations

import math

from dragon.proto import dragon_pb2 as pb

__all__ = ["fit_tests", "set_iterations"]

_LARGEST = 2**31 - 1  # of a field


def set_iterations(solver: pb.SolverParameter, iterations: int, scale: bool) -> None:
    """Set max_iter; with `scale` move the steps of the learning rate and the end of its warm-up in proportion."""
    if scale and solver.max_iter:
        factor = iterations / solver.max_iter
        for field in ("stepvalue", "stageiter"):
            steps = getattr(solver, field)
            scaled = [_scaled(value, factor) for value in steps]
            del steps[:]
            steps.extend(scaled)
        for field in ("stepsize", "warmup_iter"):
            if getattr(solver, field):
                setattr(solver, field, _scaled(getattr(solver, field), factor))
    solver.max_iter = min(iterations, _LARGEST)


def _scaled(value: int, factor: float) -> int:
    """A rounded product that the field takes; at least 1."""
    return max(1, min(math.floor(value * factor + 0.5), _LARGEST))


def fit_tests(solver: pb.SolverParameter, interval: int | None) -> None:
    """Set the test interval, by default the solver's own, and shorten max_iter so that a test falls on the end."""
    interval = min(interval or solver.test_interval or solver.max_iter, solver.max_iter)
    solver.test_interval = interval
    solver.max_iter = max(1, solver.max_iter // interval) * interval
