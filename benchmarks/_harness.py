"""Common code of the benchmarks: worker processes that take turns, statistics of pairs, tables, facts of the machine.

Only the standard library is used, so that an interpreter without this package can run the worker of a peer.

A worker is a process that holds candidates (functions that do one step) and times them on request. Each library has its
own process, since two OpenMP runtimes in one process would disturb each other; requests through pipes let only one
be active at a time. All candidates of a comparison are timed in turn, round after round (A B C, C B A, ...), so that a
machine that becomes slower or faster does so for all of them. Ratios are taken within a round; the result is their
median.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

__all__ = [
    "ROOT",
    "BenchmarkError",
    "Candidate",
    "Series",
    "Worker",
    "add_peer_options",
    "check_clock",
    "exit_status",
    "interleave",
    "machine",
    "ratio",
    "serve",
    "table",
    "thread_settings",
]

ROOT = Path(__file__).resolve().parent.parent
Step: TypeAlias = Callable[[], object]
_SETTLE = 0.02  # seconds in which the OpenMP threads of the process that was active go to sleep


class BenchmarkError(Exception):
    """A measurement that cannot be made; the message is one line."""


# -- a benchmark as a program --------------------------------------------------------------------------------
def exit_status(program: str, run: Callable[[], None], *errors: type[Exception]) -> int:
    """Run a benchmark: 0, or 2 and a line on standard error for a BenchmarkError and one of `errors`."""
    expected: tuple[type[Exception], ...] = (BenchmarkError, *errors)
    try:
        run()
    except expected as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0


def add_peer_options(parser: argparse.ArgumentParser, block_ms: float) -> None:
    """Options of a benchmark of steps beside PyTorch's. block_ms: milliseconds that are timed at a time by default."""
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="of all in turn (7)")
    what = f"of steps timed at a time ({block_ms:g})"
    parser.add_argument("--block-ms", type=float, default=block_ms, metavar="MS", help=what)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each library (1)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="cpu", help="cpu needs --threads 1 (cpu)")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PATH", help="an interpreter with PyTorch")


def thread_settings(threads: int) -> dict[str, str]:
    """The environment in which libraries use so many threads."""
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def check_clock(clock: str, threads: int | None) -> None:
    """Raise BenchmarkError where the processor's clock would add up several threads. threads: None for all."""
    if clock == "cpu" and threads != 1:
        raise BenchmarkError("--clock cpu adds up the times of all threads: it needs --threads 1")


# -- in the worker's process ---------------------------------------------------------------------------------
def serve(handlers: Mapping[str, Callable[..., Any]], make: Callable[..., Step] | None = None) -> None:
    """Answer requests from standard input until it ends.

    `make(**settings)` gives a candidate's step; without it `handlers` have a make and a time of their own. Besides
    `handlers` (name to function) there are make, drop, time (milliseconds per step over `count` steps after `warm` that
    are not counted; of the wall's clock or, for steps of one thread, the processor's), peak (bytes) and cpu (seconds of
    the processor since the process began).
    """
    candidates: dict[str, Step] = {}
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output that a library prints must not mix with replies

    def make_named(candidate: str, **settings: Any) -> None:
        assert make is not None
        candidates[candidate] = make(**settings)

    def timed(candidate: str, count: int, warm: int = 1, clock: str = "wall") -> float:
        step = candidates[candidate]
        now = time.process_time if clock == "cpu" else time.perf_counter
        for _ in range(warm):
            step()
        begin = now()
        for _ in range(count):
            step()
        return (now() - begin) / count * 1e3

    known: dict[str, Callable[..., Any]] = {
        "make": make_named,
        "drop": candidates.clear,
        "time": timed,
        "peak": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "cpu": time.process_time,
        **handlers,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"value": known[request.pop("do")](**request)}
        except Exception as error:
            reply = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
        print(json.dumps(reply), file=out, flush=True)


# -- in the process that measures ----------------------------------------------------------------------------
class Worker:
    """A process `python -m MODULE` that runs `serve`; use it as a context manager."""

    def __init__(self, module: str, python: str = sys.executable, env: Mapping[str, str] | None = None) -> None:
        self.module = module
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
        try:
            self._process = subprocess.Popen(
                [python, "-m", module],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                text=True, cwd=ROOT, env={**os.environ, **(env or {})},
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise BenchmarkError(f"{python}: {error.strerror}") from None

    def ask(self, do: str, **settings: Any) -> Any:
        """What the worker's handler returns. BenchmarkError when it fails or the process ends."""
        return self.ask_within(None, do, **settings)

    def ask_within(self, limit: float | None, do: str, **settings: Any) -> Any:
        """As `ask`, but a worker that takes longer than `limit` seconds is ended, which is an error too."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"do": do, **settings}), file=self._process.stdin, flush=True)
        if limit is not None and not select.select([self._process.stdout], [], [], max(0.0, limit))[0]:
            self._process.kill()
            self._process.wait()
            raise BenchmarkError(f"{self.module} was ended: {do} took longer than {limit:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
            raise BenchmarkError(f"{self.module} ended while it was asked to {do}: {''.join(last)}")
        reply = json.loads(line)
        if "error" in reply:
            raise BenchmarkError(f"{self.module}: {do}: {reply['error']}")
        return reply["value"]

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Series:
    """Milliseconds per step of one candidate, one value a round."""

    ms: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ms)

    @property
    def minimum(self) -> float:
        """The fastest round."""
        return min(self.ms)

    def facts(self) -> dict[str, Any]:
        """Median, minimum and all rounds, rounded, for the JSON file."""
        rounded = [round(value, 5) for value in self.ms]
        return {"median_ms": round(self.median, 5), "min_ms": round(self.minimum, 5), "rounds_ms": rounded}


@dataclass(frozen=True)
class Candidate:
    """A step to time, in a worker or, without one, by `run` (from a number of steps to milliseconds per step)."""

    name: str
    worker: Worker | None = None
    run: Callable[[int], float] | None = None
    clock: str = "wall"

    def time(self, count: int) -> float:
        """Milliseconds per step, over `count` steps."""
        if self.run is not None:
            return self.run(count)
        assert self.worker is not None
        value: float = self.worker.ask("time", candidate=self.name, count=count, clock=self.clock)
        time.sleep(_SETTLE)
        return value


def interleave(
    candidates: Sequence[Candidate], rounds: int, block_ms: float = 60, deadline: float | None = None
) -> dict[str, Series]:
    """Time all candidates in turn, `rounds` times, in blocks of about `block_ms`; every second round goes backwards.

    No round but the first begins after `deadline`, a time of time.monotonic.
    """
    counts = {}
    for candidate in candidates:
        candidate.time(1)
        counts[candidate.name] = max(1, min(500, round(block_ms / max(candidate.time(1), 1e-3))))
    series = {candidate.name: Series() for candidate in candidates}
    for k in range(rounds):
        if k and deadline is not None and time.monotonic() > deadline:
            break
        for candidate in candidates if k % 2 == 0 else reversed(candidates):
            series[candidate.name].ms.append(candidate.time(counts[candidate.name]))
    return series


def ratio(slow: Series, fast: Series) -> tuple[float, float]:
    """How many times faster `fast` is: the median over rounds of the pairs' ratios, and the ratio of the minima."""
    pairs = [a / b for a, b in zip(slow.ms, fast.ms, strict=True)]
    return statistics.median(pairs), slow.minimum / fast.minimum


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers are right-aligned, with three significant digits."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(str(h)), *(len(row[i]) for row in cells)) if cells else len(h) for i, h in enumerate(header)]
    right = [bool(rows) and all(not isinstance(row[i], str) for row in rows) for i in range(len(header))]

    def line(values: Sequence[str]) -> str:
        aligned = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return f"| {' | '.join(aligned)} |"

    rule = [("-" * (w - 1) + ":") if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join([line([str(h) for h in header]), line(rule), *map(line, cells)])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")


def machine() -> dict[str, Any]:
    """Facts about the processor, its load and the system, for the report."""
    info = _cpu_info()
    flags = info.get("flags", "").split()
    return {
        "cpu": info.get("model name", platform.processor()),
        "features": [name for name in _FEATURES if name in flags],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "omp": {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GOMP_", "OPENBLAS_"))},
    }


def _cpu_info() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
