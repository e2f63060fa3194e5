"""Worker processes: several jobs at a time, each with its share of the cores."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import dragon.errors
from dragon.bases.user_code import user_code_allowed
from dragon.errors import DragonError, UsageError, one_line

__all__ = ["Job", "Pool", "usable_cores"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_GRACE_S = 60  # time for workers to stop, which write a snapshot first


@dataclass(frozen=True)
class Job:
    """A job for a worker, which writes its answer, JSON, to the file `result`. content: see dragon.compare.worker."""

    name: str
    result: Path
    content: dict[str, Any]


def usable_cores() -> int:
    """Number of cores that this process may use."""
    try:
        from dragon.engines.onednn.library.threads import usable_cores as count

        return count()
    except (ImportError, AttributeError, OSError, DragonError):
        return os.cpu_count() or 1


class Pool:
    """Runs jobs in fresh processes, `jobs` at a time, with cores / jobs threads each. None: all usable cores.

    Raises UsageError for less than one job at a time.
    """

    def __init__(self, jobs: int | None = None, cores: int | None = None) -> None:
        self.cores = cores or usable_cores()
        if jobs is not None and jobs < 1:
            raise UsageError(f"--jobs must be at least 1, got {jobs}")
        self.jobs = min(jobs or self.cores, self.cores)

    def threads(self, waiting: int) -> int:
        """Number of threads for each of `waiting` jobs that run side by side."""
        return max(1, self.cores // max(1, min(self.jobs, waiting)))

    def run(self, jobs: Sequence[Job], on_message: Callable[[Job, dict[str, Any]], None], alone: bool = False) -> None:
        """Run all jobs. alone: one at a time on all cores. on_message: gets {"start": true}, then a worker's messages.

        Raises the error of a worker as its own type, after the other workers have stopped. Workers that are stopped
        write a snapshot first, so that nothing is lost.
        """
        waiting = list(jobs)
        at_once = 1 if alone else self.jobs
        threads = self.cores if alone else self.threads(len(jobs))
        messages: queue.Queue[tuple[Job, dict[str, Any]]] = queue.Queue()
        running: dict[str, _Worker] = {}
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    job = waiting.pop(0)
                    on_message(job, {"start": True})
                    running[job.name] = _Worker(job, threads, messages)
                job, message = messages.get()
                if "exit" in message:
                    worker = running.pop(job.name)
                    worker.check(message["exit"])
                else:
                    on_message(job, message)
                    if "error" in message:
                        raise _error(job, message)
        finally:
            for worker in running.values():
                worker.process.terminate()
            for worker in running.values():
                worker.stop()


class _Worker:
    def __init__(self, job: Job, threads: int, messages: queue.Queue[tuple[Job, dict[str, Any]]]) -> None:
        self.job = job
        environment = dict(os.environ)
        environment.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
        # the same package that runs here, installed or not
        root = str(Path(dragon.errors.__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        self.stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            # -P: no module is taken from the working directory, where anything may lie
            [sys.executable, "-P", "-m", "dragon.compare.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then asks the workers to stop
        )
        assert self.process.stdin is not None
        content = {**job.content, "result": str(job.result), "threads": threads, "allow_python": user_code_allowed()}
        with self.process.stdin as stdin:
            stdin.write(json.dumps(content).encode() + b"\n")
        self.reader = threading.Thread(target=self._read, args=(messages,), daemon=True)
        self.reader.start()

    def _read(self, messages: queue.Queue[tuple[Job, dict[str, Any]]]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                try:
                    messages.put((self.job, json.loads(line)))
                except ValueError:
                    continue  # something that a library printed
        messages.put((self.job, {"exit": self.process.wait()}))

    def check(self, status: int) -> None:
        """Raise DragonError if the worker failed or left no result."""
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").strip().splitlines()
        self.stderr.close()
        if status != 0 or not self.job.result.is_file():
            how = f"signal {-status}" if status < 0 else f"status {status}"
            last = f": {one_line(lines[-1])}" if lines else ""
            raise DragonError(f"{self.job.name}: its worker ended with {how}{last}")

    def stop(self) -> None:
        """Wait until a worker that was asked to stop has ended; kill it after a while."""
        try:
            self.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.stderr.close()


def _error(job: Job, message: dict[str, Any]) -> DragonError:
    cls = getattr(dragon.errors, str(message.get("type")), DragonError)
    kind = cls if isinstance(cls, type) and issubclass(cls, DragonError) else DragonError
    return kind(f"{job.name}: {message['error']}")
