"""Runs the engine's tests on the GPU at hand, in parallel processes and within a given time."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._harness import ROOT

__all__ = ["TESTS", "engine_tests", "run_for", "sanitizer", "smoke"]

TESTS = "tests/engines/cuda"
SANITIZED = f"{TESTS}/test_gradients.py"  # small, and goes through nearly every kernel
PROCESSES = 14  # each has a context of its own on the card
TO_END = 5  # seconds that a program has to end after an interrupt


def run_for(seconds: float, command: Sequence[str], env: dict[str, str] | None = None) -> tuple[int | None, list[str]]:
    """Run a program with all that it starts for at most `seconds`. Exit status, None if it was ended; its output."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=log, stderr=log, start_new_session=True
        )
        status: int | None = None
        try:
            status = process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            for number in (signal.SIGINT, signal.SIGKILL):  # interrupted, pytest still says what it found
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(TO_END)
        log.seek(0)
        return status, log.read().decode(errors="replace").splitlines()


def _pytest(*more: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "--tb=line", *more]


def engine_tests(seconds: float, say: Callable[[str], object], folder: str = TESTS) -> bool | None:
    """Whether the tests of the engine pass on the GPU; None if they could not run, or not to their end."""
    if importlib.util.find_spec("pytest") is None:
        say("pytest is missing: the tests were not run")
        return None
    parallel = ["-n", str(max(1, min(PROCESSES, (os.cpu_count() or 1) - 1)))]
    if importlib.util.find_spec("xdist") is None:
        say("pytest-xdist is missing: the tests run one after the other")
        parallel = []
    status, lines = run_for(seconds, _pytest(*parallel, folder), {"DRAGON_TEST_GPU": "1"})
    for line in [line for line in lines if line.startswith(("FAILED", "ERROR"))][:20]:
        say(" ".join(line.split())[:300])
    last = next((line for line in reversed(lines) if line.strip()), "no output").strip("= ")
    say(f"tests: {last}" if status is not None else f"tests: ended after {seconds:.0f} s: {last}")
    return None if status is None else status == 0


def smoke(seconds: float, say: Callable[[str], object]) -> bool | None:
    """Whether benchmarks.smoke finds all right; None if it did not end in time or could not run."""
    status, lines = run_for(seconds, [sys.executable, "-m", "benchmarks.smoke"])
    for line in lines if status else [line for line in lines if not line.startswith("right")]:
        say(line)
    say(f"smoke test: {sum(line.startswith('right') for line in lines)} right, status {status}")
    return None if status not in (0, 1) else status == 0


def sanitizer(seconds: float, say: Callable[[str], object]) -> bool | None:
    """Whether compute-sanitizer finds no wrong access in a part of the tests; None without it or without an end."""
    program = shutil.which("compute-sanitizer")
    if program is None or importlib.util.find_spec("pytest") is None:
        say(f"{'compute-sanitizer' if program is None else 'pytest'} is missing: memory accesses were not checked")
        return None
    passed: bool | None = True
    # CuPy's packages ask the driver for functions that it does not have, which memcheck would count as errors
    for tool, options in (("memcheck", ["--report-api-errors", "no"]), ("racecheck", [])):
        command = [program, "--tool", tool, *options, "--error-exitcode", "1", *_pytest(str(Path(SANITIZED)))]
        status, lines = run_for(seconds / 2, command, {"DRAGON_TEST_GPU": "1"})
        say(f"{tool}: {'ended: no time is left' if status is None else (lines or ['no output'])[-1].strip()}")
        passed = passed and (None if status is None else status == 0)
    return passed
