"""Worker processes: several jobs at a time, each with its share of the cores."""

from __future__ import annotations

import contextlib
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

Message = dict[str, Any]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_GRACE_S = 60  # time for workers to stop, which write a snapshot first


@dataclass(frozen=True)
class Job:
    """A job for a worker, which writes its answer, JSON, to the file `result`. content: see dragon.compare.worker.

    threads: in place of its share of the cores. fresh: in a process of its own.
    """

    name: str
    result: Path
    content: dict[str, Any]
    threads: int | None = None
    fresh: bool = False


def usable_cores() -> int:
    """Number of cores that this process may use."""
    try:
        from dragon.engines.onednn.library.threads import usable_cores as count

        return count()
    except (ImportError, AttributeError, OSError, DragonError):
        return os.cpu_count() or 1


class Pool:
    """Runs jobs in worker processes, `jobs` at a time, with cores / jobs threads each. None: all usable cores.

    A process does one job after the other, so that many short ones do not pay for its start. Raises UsageError for less
    than one job at a time.
    """

    def __init__(self, jobs: int | None = None, cores: int | None = None) -> None:
        self.cores = cores or usable_cores()
        if jobs is not None and jobs < 1:
            raise UsageError(f"--jobs must be at least 1, got {jobs}")
        self.jobs = min(jobs or self.cores, self.cores)

    def threads(self, waiting: int) -> int:
        """Number of threads for each of `waiting` jobs that run side by side."""
        return max(1, self.cores // max(1, min(self.jobs, waiting)))

    def run(self, jobs: Sequence[Job], on_message: Callable[[Job, Message], None], alone: bool = False) -> None:
        """Run all jobs. alone: one at a time on all cores. on_message: gets {"start": true}, then a worker's messages.

        Raises the error of a job as its own type, after the other workers have stopped. Workers that are stopped write
        a snapshot first, so that nothing is lost. A worker that dies takes its job alone with it: the job is given to
        another one, and if that dies too, the others go on to their end before DragonError is raised.
        """
        _Run(self, jobs, on_message, alone).to_the_end()


class _Run:
    """One call of `Pool.run`."""

    def __init__(
        self, pool: Pool, jobs: Sequence[Job], on_message: Callable[[Job, Message], None], alone: bool
    ) -> None:
        self.waiting = list(jobs)
        self.at_once = 1 if alone else pool.jobs
        self.threads = pool.cores if alone else pool.threads(len(jobs))
        self.on_message = on_message
        self.messages: queue.Queue[tuple[_Worker, Message]] = queue.Queue()
        self.idle: list[_Worker] = []
        self.busy: list[_Worker] = []
        self.started: set[str] = set()
        self.died: dict[str, str] = {}  # the first death of a job's worker
        self.failures: list[str] = []

    def to_the_end(self) -> None:
        """Run all jobs; see `Pool.run`."""
        try:
            while self.waiting or self.busy:
                while self.waiting and len(self.busy) < self.at_once:
                    self._begin(self.waiting.pop(0))
                self._take(*self.messages.get())
        finally:
            workers = [*self.busy, *self.idle]
            for worker in workers:
                worker.ask_to_stop()
            for worker in workers:
                worker.stop()
        if self.failures:
            others = f" (and {len(self.failures) - 1} others)" if len(self.failures) > 1 else ""
            raise DragonError(self.failures[0] + others)

    def _begin(self, job: Job) -> None:
        threads = job.threads or self.threads
        worker = next((w for w in self.idle if w.threads == threads and not job.fresh), None)
        if worker is None:
            for other in self.idle[:]:  # of another number of threads, or used where a fresh one is wanted
                self._dismiss(other)
            worker = _Worker(threads, self.messages)
        else:
            self.idle.remove(worker)
        if job.name not in self.started:
            self.started.add(job.name)
            self.on_message(job, {"start": True})
        self.busy.append(worker)
        worker.give(job)

    def _dismiss(self, worker: _Worker) -> None:
        self.idle.remove(worker)
        worker.ask_to_stop()
        worker.stop()

    def _take(self, worker: _Worker, message: Message) -> None:
        job = worker.job
        if job is None or worker not in self.busy:  # the end of a worker that was dismissed
            return
        if "exit" in message:
            self.busy.remove(worker)
            self._died(worker, job, message["exit"])
            return
        if "stopped" in message:  # by a signal that somebody else sent; the worker is about to end
            return
        if "busy" in message:  # another process, which shares the store, does this job
            self._release(worker, job)
            self.waiting.append(job)
            return
        self.on_message(job, message)
        if "error" in message:
            raise _error(job, message)
        if "done" in message:
            self._release(worker, job)
            if not job.result.is_file():
                raise DragonError(f"{job.name}: its worker left no result")

    def _release(self, worker: _Worker, job: Job) -> None:
        self.busy.remove(worker)
        worker.job = None
        self.idle.append(worker)
        if job.fresh:
            self._dismiss(worker)

    def _died(self, worker: _Worker, job: Job, status: int) -> None:
        how = worker.cause(status)
        if job.name not in self.died:
            self.died[job.name] = how
            self.waiting.insert(0, job)
        else:
            self.failures.append(f"{job.name}: its worker ended twice, with {how}")


class _Worker:
    """A process that does one job at a time."""

    def __init__(self, threads: int, messages: queue.Queue[tuple[_Worker, Message]]) -> None:
        self.job: Job | None = None
        self.threads = threads
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
        self.reader = threading.Thread(target=self._read, args=(messages,), daemon=True)
        self.reader.start()

    def give(self, job: Job) -> None:
        """Hand over a job; a worker that is dead already reports so itself."""
        assert self.process.stdin is not None
        self.job = job
        more = {"result": str(job.result), "threads": self.threads, "allow_python": user_code_allowed()}
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps({**job.content, **more}).encode() + b"\n")
            self.process.stdin.flush()

    def _read(self, messages: queue.Queue[tuple[_Worker, Message]]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                try:
                    message = json.loads(line)
                except ValueError:
                    continue  # something that a library printed
                if isinstance(message, dict):
                    messages.put((self, message))
        messages.put((self, {"exit": self.process.wait()}))

    def cause(self, status: int) -> str:
        """Why the process ended: its status or signal, and the last line that it wrote to stderr."""
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").strip().splitlines()
        self.stop()
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return how + (f": {one_line(lines[-1])}" if lines else "")

    def ask_to_stop(self) -> None:
        """Ask for the end: of a job with a snapshot, of an idle worker at once."""
        assert self.process.stdin is not None
        if self.job is not None:
            self.process.terminate()
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def stop(self) -> None:
        """Wait until a worker that was asked to stop has ended; kill it after a while."""
        try:
            self.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.stderr.close()


def _error(job: Job, message: Message) -> DragonError:
    cls = getattr(dragon.errors, str(message.get("type")), DragonError)
    kind = cls if isinstance(cls, type) and issubclass(cls, DragonError) else DragonError
    return kind(f"{job.name}: {message['error']}")
