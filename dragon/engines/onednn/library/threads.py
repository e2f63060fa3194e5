"""The cores that the process may use, and the threads of the library's OpenMP runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dragon.engines.base import MOST_THREADS
from dragon.engines.onednn.library.binding import library
from dragon.engines.onednn.library.signal_stack import ensure_signal_stack
from dragon.engines.onednn.library.waiting import waiting
from dragon.errors import EngineError

__all__ = ["default_threads", "set_threads", "usable_cores"]

_SOFT = 1  # omp_pause_soft
_owner: int | None = None  # the process that may have workers of OpenMP
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_OF_PROCESS = Path("/proc/self/cgroup")


def usable_cores(root: Path = CGROUP_ROOT, own: Path = CGROUP_OF_PROCESS) -> int:
    """Cores left by the affinity mask and by the CPU quota of each cgroup of the process, at least 1.

    A fraction of a core is dropped: threads beyond the quota are suspended in turn, which costs more than they gain.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [int(quota) for quota in _quotas(root, own)]
    return max(1, min([cores, *quotas]))


def default_threads() -> int:
    """The number that OMP_NUM_THREADS names, up to MOST_THREADS, else all usable cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return min(max(1, int(asked)), MOST_THREADS) if asked.isdecimal() else usable_cores()


def set_threads(count: int) -> None:
    """Use ``count`` threads in parallel regions of the calling thread (OpenMP keeps it for each thread).

    From then on signal handlers may interrupt the library in this thread: see `ensure_signal_stack`.
    EngineError in a forked process that has inherited OpenMP's workers without their threads.
    """
    global _owner
    if _owner != (pid := os.getpid()):
        _own(pid)
    ensure_signal_stack()
    # Looked up through oneDNN itself, which finds the OpenMP runtime it was linked with.
    function = getattr(library().cdll, "omp_set_num_threads", None)
    if function is not None:
        function(max(1, count))


def _own(pid: int) -> None:
    global _owner
    if _owner is not None:
        raise EngineError(
            "this process was forked from one that had run nets, and a fork copies no threads: build and run nets in "
            'the child only, or start it by multiprocessing.get_context("spawn")'
        )
    _register()
    _owner = pid


@cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_end_workers)


def _end_workers() -> None:
    """End the calling thread's workers before a fork; both processes start new ones when they need them.

    GNU's runtime keeps workers waiting. A forked child inherits its record of them but not the threads, and would wait
    for them without end. If a runtime cannot end them, `set_threads` raises an error in the child.
    """
    global _owner
    chosen = waiting()
    if chosen is not None:
        chosen.reset()
    pause = getattr(library().cdll, "omp_pause_resource_all", None)
    if _owner == os.getpid() and pause is not None and pause(_SOFT) == 0:
        _owner = None


def _quotas(root: Path, own: Path) -> Iterator[float]:
    """CPU quotas in cores, of the process's groups and their parents (both versions of cgroups)."""
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        for folder in _upwards(path):
            if not controllers:
                words = _read(root / folder / "cpu.max").split()
                if len(words) == 2 and words[0] != "max":
                    yield int(words[0]) / int(words[1])
            elif "cpu" in controllers.split(","):
                base = root / controllers if (root / controllers).is_dir() else root / "cpu"
                quota = _read(base / folder / "cpu.cfs_quota_us").strip()
                period = _read(base / folder / "cpu.cfs_period_us").strip()
                if quota and period and int(quota) > 0:
                    yield int(quota) / int(period)


def _upwards(path: str) -> Iterator[str]:
    parts = [part for part in path.split("/") if part and part != ".."]
    for length in range(len(parts), -1, -1):
        yield "/".join(parts[:length])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
