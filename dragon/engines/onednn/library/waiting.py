"""Chooses how the threads of OpenMP wait for each other: by spinning, or by sleeping after a short spin.

Spinning is quickest while the cores are free. Where other programs want them too, a thread that spins takes the time
slice that the thread it waits for needs, and a step may take ten times as long. No number depends on the choice.

GNU's runtime spins for 300,000 turns at a barrier, but for 100 only while it has more threads than cores
(gomp_throttled_spin_count_var). So a second team that does nothing makes all teams sleep, and its end lets them spin.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from functools import cache
from pathlib import Path
from typing import Protocol

from dragon.engines.onednn.library.binding import library

__all__ = ["SLEEP", "SPIN", "Team", "Waiting", "waiting"]

SPIN, SLEEP = "spin", "sleep"
CROWDED = 20.0  # involuntary context switches per second from which on other programs want the cores
CHECK = 0.25  # seconds between two looks at them
FIRST, LONGEST = 1.0, 60.0  # seconds between two trials; doubled after each that changed nothing
TRIAL_CALLS, TRIAL_SECONDS = 6, 0.06  # the least length of a trial
ENOUGH_CALLS, ENOUGH_SECONDS = 2, 0.3  # or this one, for long calls
GIVEN_UP, LOST = 3.0, 0.02  # a trial ends early when it takes that many times as long, and that many seconds more
GAIN = 0.9  # the part of the time that the other way may take to be chosen
LATER = 10.0  # seconds from a beginning by sleep to the first trial of the other way
DEAR = 20  # a trial that lost is not repeated for that many times of what it cost
KEPT = 8  # newest times of each kind of call

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
    """The choice for this process, from the times of calls that are repeated.

    switches: the involuntary context switches of the process so far.
    """

    def __init__(
        self, sleeper: Sleeper, switches: Callable[[], int], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.mode = SPIN
        self._sleeper, self._switches, self._clock = sleeper, switches, clock
        self._lock = threading.Lock()
        self._times: dict[str, dict[Hashable, deque[float]]] = {SPIN: {}, SLEEP: {}}
        self._seen = clock(), switches()
        self._interval = FIRST
        self._next = clock() + CHECK
        self._last = clock()  # end of the trial before
        self._expected: dict[Hashable, float] | None = None  # mean seconds the other way, in a trial
        self._trial: list[tuple[float, float]] = []  # seconds and those expected, by call

    def note(self, call: Hashable, seconds: float) -> None:
        """Count a call that took `seconds`, and perhaps change the way. call: what is done, on which net."""
        if not self._lock.acquire(blocking=False):
            return  # nets on several threads: one of them decides
        try:
            now = self._clock()
            times = self._times[self.mode]
            if call not in times and len(times) >= KEPT * KEPT:  # nets that are gone
                times.clear()
            times.setdefault(call, deque(maxlen=KEPT)).append(seconds)
            if self._expected is not None:
                self._judge(call, seconds, now)
            elif now - self._seen[0] >= CHECK:
                self._look(now)
        finally:
            self._lock.release()

    def sleep(self) -> None:
        """Begin with sleeping: other programs want all cores now."""
        with self._lock:
            if self.mode == SPIN:
                self._change(SLEEP)
                self._last = self._clock()
                self._next = self._last + LATER

    def reset(self) -> None:
        """Spin, and forget what was found: before a fork."""
        with self._lock:
            if self.mode == SLEEP:
                self._change(SPIN)
            self._expected, self._interval = None, FIRST

    def _look(self, now: float) -> None:
        then, count = self._seen
        self._seen = now, self._switches()
        crowded = self._seen[1] - count > CROWDED * (now - then)
        if self.mode == SPIN:
            due = crowded and now >= self._next
        else:
            due = now >= (self._next if crowded else min(self._next, self._last + FIRST))
        if due and all(len(times) > 1 for times in self._times[self.mode].values()):
            self._expected = {call: sum(t) / len(t) for call, t in self._times[self.mode].items()}
            self._trial = []
            self._change(SLEEP if self.mode == SPIN else SPIN)
            self._times[self.mode].clear()

    def _judge(self, call: Hashable, seconds: float, now: float) -> None:
        """One more call of a trial."""
        expected = (self._expected or {}).get(call)
        if expected is None:
            if len(self._times[self.mode][call]) == KEPT:  # the calls of before do not come any more
                self._end(False, now)
            return
        self._trial.append((seconds, expected))
        took, before = (sum(column) for column in zip(*self._trial, strict=True))
        if took > GIVEN_UP * before and took - before > LOST:
            self._end(False, now)
        elif any(
            len(self._trial) >= calls and max(took, before) >= length
            for calls, length in ((TRIAL_CALLS, TRIAL_SECONDS), (ENOUGH_CALLS, ENOUGH_SECONDS))
        ):
            self._end(took < GAIN * before, now)

    def _end(self, better: bool, now: float) -> None:
        took, before = (sum(column) for column in zip(*self._trial, strict=True)) if self._trial else (0.0, 0.0)
        self._expected = None
        if better:
            what = "sleep after a short spin" if self.mode == SLEEP else "spin"
            log.info(
                "threads %s while they wait for each other: %.1f ms a pass instead of %.1f",
                what, took / len(self._trial) * 1e3, before / len(self._trial) * 1e3,
            )  # fmt: skip
            self._interval = FIRST
        else:
            self._change(SPIN if self.mode == SLEEP else SLEEP)
            self._interval = max(min(2 * self._interval, LONGEST), DEAR * (took - before))
        self._last = now
        self._next = now + self._interval
        self._seen = now, self._switches()

    def _change(self, mode: str) -> None:
        if mode == SLEEP:
            self._sleeper.start()
        else:
            self._sleeper.stop()
        self.mode = mode


@cache
def waiting() -> Waiting | None:
    """The choice of this process; None where the user made it or the runtime is not GNU's."""
    if any(os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")):
        return None
    switches = _switches()
    try:
        cdll = library().cdll
        cdll["GOMP_parallel"]
        cores = cdll["omp_get_num_procs"]()
    except AttributeError:
        return None
    if switches is None:
        return None
    chosen = Waiting(Team(cores + 1), switches)
    if _running() > (os.cpu_count() or 1):
        chosen.sleep()
    return chosen


def _switches() -> Callable[[], int] | None:
    """Counts the involuntary context switches of the process; None where the system does not tell them."""
    if sys.platform != "win32":
        try:
            from resource import RUSAGE_SELF, getrusage
        except ImportError:
            return None
        return lambda: getrusage(RUSAGE_SELF).ru_nivcsw
    return None


def _running(loads: Path = Path("/proc/loadavg")) -> int:
    """Threads of the machine that run or could, this one included; 0 where it cannot be known."""
    try:
        return int(loads.read_text().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0
