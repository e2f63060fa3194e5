"""Chooses how the threads of OpenMP wait for each other: by spinning, or by sleeping after a short spin.

Spinning is quickest while the cores are free. Where other programs want them too, a thread that spins takes the time
slice that the thread it waits for needs, and a step may take ten times as long. Linux counts how long each thread
could have run and had no core: its share times the number of cores says how many were missed. Measured on two cores,
threads that spin miss .00 to .06 cores on a free machine, 1.0 to 1.3 beside one program of the same priority, and .06,
.12 and .32 beside 1, 4 and 12 of low priority, where spinning stays the best. Threads that sleep miss .66 and more
beside one of the same priority, but also .4 beside one of low and 1.3 beside 12. So they try to spin now and then
whatever they see, less and less often while that fails, and soon where Linux counts no other program of their
priority, unless threads that spun missed cores all the same: a container may have used up its share of them. No number
depends on the choice.

GNU's runtime spins for 300,000 turns at a barrier, but for 100 only while it has more threads than cores
(gomp_throttled_spin_count_var). So a second team that does nothing makes all teams sleep, and its end lets them spin.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

from dragon.engines.onednn.library.binding import library

__all__ = ["SLEEP", "SPIN", "Team", "Waiting", "waiting"]

SPIN, SLEEP = "spin", "sleep"
CHECK = 0.25  # seconds between two looks
SURE = 1.0  # seconds that cores must have been missed: the scheduler takes a while to follow
OBVIOUS = 0.65  # share of the time without a core, from which on one look tells: two threads on one core miss half
CROWDED = 0.8  # cores that threads which spin miss, from which on they sleep
FREE = 0.5  # cores missed up to which they seem to be free to threads that sleep
ALONE = 0.25  # cores that others of the same priority use, up to which there is none that matters
QUIET = 8  # looks without such a program, after which spinning is tried whatever was found before
DOUBTED = 0.1  # of a look counts where more are missed
LEAST = 0.05  # share of a core that must have been used for a look to tell anything
FIRST, LONGEST = 4, 240  # looks at which cores must seem to be free; doubled each time that they were not
LONGEST_IF_OBVIOUS = 16  # of a try that cost a look only

log = logging.getLogger("dragon")


class Sleeper(Protocol):
    """Makes threads sleep soon between start and stop."""

    def start(self) -> None:
        """Sleep from now on."""

    def stop(self) -> None:
        """Spin again."""


class Team:
    """A team of OpenMP that does nothing, held by a thread of its own."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Make the team; returns when it is there."""
        ready, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, args=(ready, self._end), name="dragon-sleep", daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """End the team with its thread."""
        if self._thread is not None:
            self._end.set()
            self._thread.join()
            self._thread = None

    def _hold(self, ready: threading.Event, end: threading.Event) -> None:
        nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # of a null pointer: a region that does nothing
        run = library().cdll["GOMP_parallel"]
        run.argtypes, run.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
        run(nothing, None, self.size, 0)
        ready.set()
        end.wait()


class Waiting:
    """The choice for this process, from the share of its time that its threads wait for a core.

    waited: seconds that the threads have computed, and seconds that they could have, had a core been free.
    cores: that the threads share out. rivals: seconds that other programs of this priority have computed, if known.
    """

    def __init__(
        self,
        sleeper: Sleeper,
        waited: Callable[[], tuple[float, float]],
        clock: Callable[[], float] = time.perf_counter,
        cores: int = 2,
        rivals: Callable[[], float] | None = None,
    ) -> None:
        self.mode = SPIN
        self.cores = cores
        self._rivals = rivals
        self._sleeper, self._waited, self._clock = sleeper, waited, clock
        self._lock = threading.Lock()
        self._seen = self._figures(clock())
        self._quiet = 0  # looks one after another without a rival
        self._patience = FIRST
        self._looks: float = FIRST  # since the mode was chosen; not by time: a net may be idle

    def note(self) -> None:
        """Look now and then whether the other way is better. To be called behind each pass."""
        if not self._lock.acquire(blocking=False):
            return  # nets on several threads: one of them decides
        try:
            now = self._clock()
            if now - self._seen[0] >= CHECK:
                self._look(now)
        finally:
            self._lock.release()

    def sleep(self) -> None:
        """Begin with sleeping: there are more programs than cores now."""
        with self._lock:
            if self.mode == SPIN:
                self._change(SLEEP)

    def reset(self) -> None:
        """Spin, and forget what was found: before a fork."""
        with self._lock:
            if self.mode == SLEEP:
                self._change(SPIN)
            self._patience = FIRST

    def _look(self, now: float) -> None:
        seen = self._figures(now)
        seconds, computed, waited, rivals = (after - before for before, after in zip(self._seen, seen, strict=True))
        if computed + waited < LEAST * CHECK:
            self._seen = seen  # nothing was computed
            return
        share = waited / (computed + waited)
        missed = share * self.cores
        crowded = self.mode == SPIN and missed > CROWDED
        if crowded and seconds < SURE and share < OBVIOUS:
            return  # this look goes on
        self._seen = seen
        alone = rivals <= ALONE * seconds  # false for NaN
        self._quiet = self._quiet + 1 if alone else 0
        free = self.mode == SPIN or alone or missed <= FREE
        self._looks += 1 if free else DOUBTED
        if crowded:
            if alone:
                self._rivals = None  # they are not what takes the cores
            # a free machine that is crowded again asks for no patience; one that only seemed to be free does
            longest = LONGEST if share < OBVIOUS else LONGEST_IF_OBVIOUS
            self._patience = min(2 * self._patience, longest) if self._looks <= self._patience else FIRST
            self._change(SLEEP)
            log.info(
                "threads sleep after a short spin while they wait for each other: "
                "other programs had the cores for %.0f %% of the time", 100 * share,
            )  # fmt: skip
        elif self.mode == SLEEP and (self._looks >= self._patience or self._quiet >= QUIET):
            self._change(SPIN)
            log.info("threads spin while they wait for each other: the cores %s free", "are" if free else "may be")

    def _figures(self, now: float) -> tuple[float, float, float, float]:
        """The time, seconds that our threads have computed and waited, and that rivals have computed (NaN: unknown)."""
        return now, *self._waited(), math.nan if self._rivals is None else self._rivals()

    def _change(self, mode: str) -> None:
        if mode == SLEEP:
            self._sleeper.start()
        else:
            self._sleeper.stop()
        self.mode = mode
        self._looks = self._quiet = 0
        self._seen = self._figures(self._clock())


@cache
def waiting() -> Waiting | None:
    """The choice of this process; None where the user made it, and without GNU's runtime or the figures of Linux."""
    if any(os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        return None
    waited = _waited()
    try:
        cdll = library().cdll
        cdll["GOMP_parallel"]
        cores = cdll["omp_get_num_procs"]()
    except AttributeError:
        return None
    if waited is None:
        return None
    chosen = Waiting(Team(cores + 1), waited, cores=cores, rivals=_rivals())
    if _running() > (os.cpu_count() or 1):
        chosen.sleep()
    return chosen


def _waited(tasks: Path = Path("/proc/self/task")) -> Callable[[], tuple[float, float]] | None:
    """Reads how long the threads of the process computed and waited for a core; None where the system does not say."""

    def read() -> tuple[float, float]:
        computed, waited = 0, 0
        for task in os.listdir(tasks):
            try:
                with open(f"{tasks}/{task}/schedstat", "rb") as file:
                    run, queued, _ = file.read().split()
            except (OSError, ValueError):  # the thread is gone
                continue
            computed, waited = computed + int(run), waited + int(queued)
        return computed / 1e9, waited / 1e9

    try:
        return read if read()[0] > 0 else None
    except OSError:
        return None


def _rivals(stat: Path = Path("/proc/stat")) -> Callable[[], float] | None:
    """Reads how long other programs of this process's priority have computed; None where the system does not say."""
    if sys.platform == "win32":
        return None

    def read() -> float:
        with open(stat, "rb") as file:
            _, user, nice = file.readline().split()[:3]
        low = os.getpriority(os.PRIO_PROCESS, 0) > 0  # Linux counts the time of such programs apart
        ticks = int(user) + (int(nice) if low else 0)
        return float(ticks / os.sysconf("SC_CLK_TCK") - os.times().user)

    try:
        return read if read() > 0 else None
    except (OSError, ValueError, AttributeError):
        return None


def _running(loads: Path = Path("/proc/loadavg")) -> int:
    """Threads of the machine that run or could, this one included; 0 where it cannot be known."""
    try:
        return int(loads.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0
