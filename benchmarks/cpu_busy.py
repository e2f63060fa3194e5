"""CPU benchmarks beside other programs: hogs that compute without end, at equal and at low priority."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks._harness import Candidate, Worker, interleave, ratio
from benchmarks.cpu_compare import Bench, Comparison, Result, facts

__all__ = ["LOADS", "busy", "hogs"]

LOADS = ((0, 0), (1, 0), (4, 0), (12, 0), (1, 19), (4, 19), (12, 19))  # how many, their nice value
_WAITING: dict[str, dict[str, str]] = {
    "chosen": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": ""},
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # GNU's own default
    "passive": {"OMP_WAIT_POLICY": "passive"},
}
_SETTLE = 3  # seconds of steps before those that count: the engine and the scheduler find out
_BLOCK = 1000  # ms at least: a scheduler treats what has just slept better than what computes on


@contextmanager
def hogs(count: int, nice: int) -> Iterator[None]:
    """`count` processes that compute without end, at a nice value, each in a session of its own as other programs are.

    Where Linux groups processes by session (sched_autogroup), a nice value counts within the group only, and the
    group has one of its own.
    """
    compute = f"import os\nos.nice({nice})\nwhile os.getppid() == {os.getpid()}:\n  for _ in range(10**6): pass"
    running = [subprocess.Popen([sys.executable, "-c", compute], start_new_session=True) for _ in range(count)]
    try:
        for process in running:
            with suppress(OSError):  # no such groups here
                Path(f"/proc/{process.pid}/autogroup").write_text(str(nice))
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def busy(bench: Bench) -> Iterator[Result]:
    """Training and inference beside others: ours with the way of waiting chosen, spinning and passive; PyTorch."""
    for net in bench.nets:
        for mode, batch in (("train", bench.batches_or((100,))[0]), ("infer", 1)):
            yield from _beside(bench, net, mode, batch)


def _beside(bench: Bench, net: str, mode: str, batch: int) -> Iterator[Result]:
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker("benchmarks.cpu_ours", env=env)) for name, env in _WAITING.items()}
        if bench.peer is not None:
            workers["PyTorch"] = stack.enter_context(Worker("benchmarks.cpu_torch", bench.peer))
        candidates: list[Candidate] = []
        for name in _WAITING:
            own = stack.enter_context(Comparison(bench, {"dragon": workers[name]}))
            own.ours(name, mode, net, batch)
            candidates += own.candidates
        if bench.peer is not None:
            peers = {"dragon": workers["passive"], "PyTorch": workers["PyTorch"]}
            both = stack.enter_context(Comparison(bench, peers))
            both.check(mode, net, batch)
            for name, form in bench.peers().items():
                if name in ("eager", "channels_last"):
                    both.peer(name, mode, net, batch, **form)
            candidates += both.candidates
        for count, nice in LOADS:
            with hogs(count, nice):
                interleave(candidates, 1, _SETTLE * 1e3)
                series = interleave(candidates, bench.rounds, max(bench.block_ms, _BLOCK))
            load = f"{count}, {'equal' if nice == 0 else 'low'}" if count else "none"
            result: dict[str, Any] = facts(series, ()) | {"net": net, "batch": batch, "mode": mode, "hogs": load}
            for other in [name for name in series if name != "chosen"]:
                median, minimum = ratio(series[other], series["chosen"])
                result["ratios"][other] = {"median": round(median, 3), "min": round(minimum, 3)}
            yield result
