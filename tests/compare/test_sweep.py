"""A sweep of 24 runs on two workers of Dask, of which one is killed and another added: each run is done once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dragon.compare.executors import make_pool
from dragon.compare.jobs import Job, Message
from dragon.compare.pool import Pool
from tests.compare.jobs import jobs_of, series_of

ROOT = Path(__file__).parents[2]
RUNS = 24


@pytest.fixture
def scheduler() -> Iterator[Any]:
    """A scheduler of Dask without workers."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", silence_logs=50) as found:
        yield found


class Workers:
    """Workers that no nanny starts again, each a process with one thread."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.processes: list[subprocess.Popen[bytes]] = []

    def add(self) -> None:
        """Start one."""
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads", "1"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.processes.append(
            subprocess.Popen(
                [*command, "--no-dashboard"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )

    def close(self) -> None:
        """End them."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("distributed"), reason="needs distributed")
def test_no_run_is_lost_or_done_twice(comparison: Path, tmp_path: Path, scheduler: Any) -> None:
    runs = tmp_path / "runs"
    jobs = jobs_of(comparison, runs, RUNS)
    workers = Workers(scheduler.scheduler_address)
    said: Counter[tuple[str, str]] = Counter()
    written: dict[Path, set[tuple[int, int]]] = {job.result: set() for job in jobs}  # who wrote a record, and when
    over = threading.Event()

    def on_message(job: Job, message: Message) -> None:
        for what in ("start", "done"):
            said[job.name, what] += what in message
        done = sum(count for (_, what), count in said.items() if what == "done")
        if message.get("done") and done == 4:
            workers.processes[0].send_signal(signal.SIGKILL)
        if message.get("done") and done == 8:
            workers.add()

    def look() -> None:
        while not over.wait(0.01):
            for path, seen in written.items():
                if path.exists():
                    seen.add((path.stat().st_ino, path.stat().st_mtime_ns))

    looking = threading.Thread(target=look)
    looking.start()
    began = time.monotonic()
    try:
        workers.add()
        workers.add()
        with make_pool("dask", None, scheduler.scheduler_address) as pool:
            pool.run(jobs, on_message)
        assert workers.processes[0].poll() == -signal.SIGKILL
        assert len(workers.processes) == 3
    finally:
        over.set()
        looking.join()
        workers.close()
    print(f"{RUNS} runs in {time.monotonic() - began:.1f} s")
    assert said == {(job.name, what): 1 for job in jobs for what in ("start", "done")}
    assert [len(seen) for seen in written.values()] == [1] * RUNS
    found = series_of(runs)
    assert len(found) == RUNS
    Pool(1).run(jobs_of(comparison, tmp_path / "local", 2), lambda job, message: None)
    place = {path.stem: k for k, path in enumerate(sorted(runs.glob("*.json")))}
    assert series_of(tmp_path / "local") == [found[place["1"]], found[place["2"]]]
