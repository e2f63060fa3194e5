"""Runs a process and ends it where it sleeps for ever; one that is stopped, or waits for a processor, may go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ended", "watched"]

_BUSY = 0.05  # of the time between two looks: a process that computes as much does not sleep, whatever its threads do


@dataclass(frozen=True)
class Ended:
    """How a process ended. slept: whether it was ended since it slept for too long."""

    code: int
    out: str
    err: str
    slept: bool


def watched(command: Sequence[str], step: Path, seconds: float, every: float = 1.0) -> Ended:
    """Run a command to its end, or until it has slept for `seconds` since the file `step` was last written.

    Only time between two looks in which it was seen to sleep counts, `every` seconds at most, so that a machine that
    stands still, or has more to do, ends nothing. It ends by SIGABRT, at which faulthandler can say where it was.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        return _watch(process, step, seconds, every)
    finally:  # also where somebody interrupts the watch
        process.kill()
        process.wait()


def _watch(process: subprocess.Popen[str], step: Path, seconds: float, every: float) -> Ended:
    asleep, written, before = 0.0, _written(step), 0.0
    while True:
        begin = time.monotonic()
        try:
            out, err = process.communicate(timeout=every)
        except subprocess.TimeoutExpired:
            pass
        else:
            return Ended(process.returncode, out, err, slept=asleep >= seconds)
        sleeps, computed = _state(process.pid)
        if written != (written := _written(step)):
            asleep = 0.0
        elif sleeps and computed - before < _BUSY * every:
            asleep += min(time.monotonic() - begin, every)
        before = computed
        if asleep >= seconds:
            process.send_signal(signal.SIGABRT)


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _state(process: int) -> tuple[bool, float]:
    """Whether a process sleeps, neither stopped nor ready to compute, and the seconds that it has computed."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return False, 0.0
    return fields[0] in "SD", (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
