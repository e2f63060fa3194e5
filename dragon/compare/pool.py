"""Worker processes: several jobs at a time, each with its share of the cores."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from types import TracebackType

from dragon.compare.jobs import Deaths, Job, Message, OnMessage, job_error
from dragon.compare.machine import machine, usable_cores
from dragon.compare.process import WorkerProcess
from dragon.errors import DragonError, UsageError

__all__ = ["Pool"]


class Pool:
    """Runs jobs in worker processes, `jobs` at a time, with cores / jobs threads each. None: all usable cores.

    A process does one job after the other, so that many short ones do not pay for its start. Raises UsageError for less
    than one job at a time.
    """

    executor = "local"

    def __init__(self, jobs: int | None = None, cores: int | None = None) -> None:
        self.cores = cores or usable_cores()
        if jobs is not None and jobs < 1:
            raise UsageError(f"--jobs must be at least 1, got {jobs}")
        self.jobs = min(jobs or self.cores, self.cores)

    @property
    def machine(self) -> str:
        """What the jobs run on, for readers."""
        return machine(self.cores)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to do: the workers end with `run`."""

    def threads(self, waiting: int) -> int:
        """Number of threads for each of `waiting` jobs that run side by side."""
        return max(1, self.cores // max(1, min(self.jobs, waiting)))

    def run(self, jobs: Sequence[Job], on_message: OnMessage, alone: bool = False) -> None:
        """Run all jobs. alone: one at a time on all cores. on_message: gets {"start": true}, then a worker's messages.

        Raises the error of a job as its own type, after the other workers have stopped. Workers that are stopped write
        a snapshot first, so that nothing is lost. A worker that dies takes its job alone with it: the job is given to
        another one, and if that dies too, the others go on to their end before DragonError is raised.
        """
        _Run(self, jobs, on_message, alone).to_the_end()


class _Run:
    """One call of `Pool.run`."""

    def __init__(self, pool: Pool, jobs: Sequence[Job], on_message: OnMessage, alone: bool) -> None:
        self.waiting = list(jobs)
        self.at_once = 1 if alone else pool.jobs
        self.threads = pool.cores if alone else pool.threads(len(jobs))
        self.on_message = on_message
        self.messages: queue.Queue[tuple[WorkerProcess, Message]] = queue.Queue()
        self.idle: list[WorkerProcess] = []
        self.busy: list[WorkerProcess] = []
        self.started: set[str] = set()
        self.deaths = Deaths()

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
        self.deaths.raise_failures()

    def _begin(self, job: Job) -> None:
        threads = job.threads or self.threads
        worker = next((w for w in self.idle if w.threads == threads and not job.fresh), None)
        if worker is None:
            for other in self.idle[:]:  # of another number of threads, or used where a fresh one is wanted
                self._dismiss(other)
            worker = WorkerProcess(threads, self.messages)
        else:
            self.idle.remove(worker)
        if job.name not in self.started:
            self.started.add(job.name)
            self.on_message(job, {"start": True})
        self.busy.append(worker)
        worker.give(job)

    def _dismiss(self, worker: WorkerProcess) -> None:
        self.idle.remove(worker)
        worker.ask_to_stop()
        worker.stop()

    def _take(self, worker: WorkerProcess, message: Message) -> None:
        job = worker.job
        if job is None or worker not in self.busy:  # the end of a worker that was dismissed
            return
        if "exit" in message:
            self.busy.remove(worker)
            if self.deaths.give_again(job, worker.cause(message["exit"])):
                self.waiting.insert(0, job)
            return
        if "stopped" in message:  # by a signal that somebody else sent; the worker is about to end
            return
        if "busy" in message:  # another process, which shares the store, does this job
            self._release(worker, job)
            self.waiting.append(job)
            return
        self.on_message(job, message)
        if "error" in message:
            raise job_error(job, message)
        if "done" in message:
            self._release(worker, job)
            if not job.result.is_file():
                raise DragonError(f"{job.name}: its worker left no result")

    def _release(self, worker: WorkerProcess, job: Job) -> None:
        self.busy.remove(worker)
        worker.job = None
        self.idle.append(worker)
        if job.fresh:
            self._dismiss(worker)
