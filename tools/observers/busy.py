"""Warns once of a run whose cores are taken by other processes, since its times are not those of a quiet machine."""

from __future__ import annotations

import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dragon.memory.storage import Array
from dragon.solver.solver import Observer, Solver
from dragon.tools.common.logs import log

__all__ = ["BusyObserver", "Sample", "sample"]

_MIN_SECONDS = 3.0  # that are looked at
_MIN_CORES = 0.5  # used by others, and
_MIN_SHARE = 0.1  # of the cores


class Sample(NamedTuple):
    """Seconds: on the clock, that the process's cores worked, that the process itself worked. cores: their number."""

    clock: float
    busy: float
    own: float
    cores: int


def sample(stat: Path = Path("/proc/stat")) -> Sample | None:
    """What the cores that this process may use have done so far; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        cores = os.sched_getaffinity(0)
        ticks = os.sysconf("SC_CLK_TCK")
        lines = stat.read_text(encoding="ascii").splitlines()
        busy = found = 0
        for line in lines:
            name, *times = line.split()
            if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in cores:
                found += 1
                user, nice, system, _, _, *interrupts = map(int, times[:8])  # idle and waiting for a disk: not busy
                busy += user + nice + system + sum(interrupts)
    except (AttributeError, OSError, ValueError):
        return None
    used = os.times()
    own = used.user + used.system + used.children_user + used.children_system
    return Sample(time.monotonic(), busy / ticks, own, found) if found else None


class BusyObserver(Observer):
    """Compares the first seconds of a training with what the process itself used of its cores.

    It looks at displays, tests and snapshots, so that an iteration takes no longer.
    """

    def __init__(self, sample: Callable[[], Sample | None] = sample) -> None:
        self._sample = sample
        self._first: Sample | None = None

    def on_start(self, solver: Solver) -> None:
        self._first = self._sample()

    def on_display(self, solver: Solver, loss: float, rate: float) -> None:
        self._look(solver)

    def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
        self._look(solver)

    def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
        self._look(solver)

    def on_end(self, solver: Solver) -> None:
        self._look(solver)

    def _look(self, solver: Solver) -> None:
        first = self._first
        now = None if first is None else self._sample()
        if first is None or now is None or now.clock - first.clock < _MIN_SECONDS:
            return
        self._first = None  # once
        others = (now.busy - first.busy - (now.own - first.own)) / (now.clock - first.clock)
        wanted = min(now.cores, getattr(solver.net.executor, "threads", None) or now.cores)
        if others >= max(_MIN_CORES, _MIN_SHARE * now.cores) and others + wanted > now.cores + _MIN_CORES / 2:
            log.warning(
                "the machine is busy: other processes use %.1f of %d cores; times and images/s are worse than they "
                "would be without them", min(others, now.cores), now.cores,
            )  # fmt: skip
