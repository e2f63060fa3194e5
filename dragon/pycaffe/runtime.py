"""Logging, timing and the functions for several processes that pycaffe has besides nets, solvers and layers.

A script trains in one process. Counts and ranks can be read, as layers in Python do under `dragon train --ranks`, and
set to what they are.
"""

from __future__ import annotations

import logging
import time

from dragon.bases.layer import Layer, layer_types
from dragon.errors import UsageError
from dragon.graph.net import Net
from dragon.solver.glog import LEVELS, OF_SCRIPT, log_to_stderr
from dragon.solver.solver import Solver, present_ranks
from dragon.solver.types import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__all__ = [
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Layer",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "Timer",
    "get_solver",
    "has_nccl",
    "init_log",
    "layer_type_list",
    "log",
    "set_logging",
    "set_logging_disabled",
    "set_multiprocess",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]

_log = logging.getLogger("dragon")
_WHO = "a script trains in one process with one solver, of rank 0; `dragon train --ranks N` starts N"


def layer_type_list() -> list[str]:
    """The names of all known layer types."""
    return layer_types()


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Show messages from `level` on: 0 information, 1 warnings, 2 errors, 3 fatal; on stderr or nowhere."""
    if level not in range(len(LEVELS)):
        raise UsageError(f"log level must be 0, 1, 2 or 3, got {level}")
    log_to_stderr(LEVELS[level], stderr)


def set_logging(level: int = 0) -> None:
    """Show messages from `level` on, on stderr; see init_log."""
    init_log(level)


def set_logging_disabled() -> None:
    """Show no messages but those of level 3, fatal, as in FlowNet2's Caffe."""
    init_log(len(LEVELS) - 1)


def log(message: str) -> None:
    """Log information, of one line or several."""
    _log.info("%s", message, extra=OF_SCRIPT)


def solver_count() -> int:
    """Number of processes that train together: 1, or that of `dragon train --ranks`."""
    ranks = present_ranks()
    return 1 if ranks is None else ranks.size


def solver_rank() -> int:
    """Position of this process among those that train together, from 0."""
    ranks = present_ranks()
    return 0 if ranks is None else ranks.rank


def set_solver_count(count: int) -> None:
    """Accept what `solver_count` says; raise UsageError for others."""
    if count != solver_count():
        raise UsageError(f"set_solver_count({count}): {_WHO}")


def set_solver_rank(rank: int) -> None:
    """Accept what `solver_rank` says; raise UsageError for others."""
    if rank != solver_rank():
        raise UsageError(f"set_solver_rank({rank}): {_WHO}")


def set_multiprocess(multiprocess: bool) -> None:
    """Do nothing: a script trains in one process, and `dragon train --ranks` has set what several need."""


def has_nccl() -> bool:
    """Whether a script can have solvers train together over NCCL: no. `dragon train --ranks` does it by itself."""
    return False


class NCCL:
    """Stands for pycaffe's exchange of gradients between solvers; sends nothing, since a script trains with one."""

    def __init__(self, solver: Solver, uid: str) -> None:
        self.solver = solver

    @staticmethod
    def new_uid() -> str:
        """A name for the group of solvers."""
        return "one process"

    def bcast(self) -> None:
        """Do nothing: there are no other solvers to send weights to."""

    def __call__(self, layer: int = 0) -> None:
        """Do nothing, as a callback of the solver or a hook of its net: the gradients are complete already."""


class Timer:
    """A stopwatch, read in seconds (s), milliseconds (ms) or microseconds (us), while it runs or afterwards."""

    def __init__(self) -> None:
        self._start = self._end = 0.0
        self._running = False

    def start(self) -> None:
        """Start to measure, from 0."""
        self._start, self._running = time.perf_counter(), True

    def stop(self) -> None:
        """End the measured time; nothing where it does not run, as in pycaffe."""
        if self._running:
            self._end, self._running = time.perf_counter(), False

    @property
    def s(self) -> float:
        """Seconds measured."""
        return (time.perf_counter() if self._running else self._end) - self._start

    @property
    def ms(self) -> float:
        """Milliseconds measured."""
        return self.s * 1e3

    @property
    def us(self) -> float:
        """Microseconds measured."""
        return self.s * 1e6
