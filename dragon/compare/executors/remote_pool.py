"""Jobs on the workers of MPI or Dask, with the interface of `dragon.compare.pool.Pool`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from pathlib import Path
from types import TracebackType

from dragon.bases.user_code import user_code_allowed
from dragon.compare.executors.engine import RemoteEngine
from dragon.compare.executors.task import Answer, Task
from dragon.compare.jobs import Deaths, Job, Message, OnMessage, job_error
from dragon.compare.machine import machine
from dragon.compare.pool import Pool
from dragon.compare.process import GRACE_S
from dragon.compare.same_data import data_of
from dragon.compare.store import read_result
from dragon.errors import DragonError, one_line
from dragon.files.atomic import write_atomically
from dragon.version import __version__

__all__ = ["RemotePool"]

_POLL_S = 1.0


class RemotePool:
    """Runs jobs on the workers of an engine, as many at a time as those can do. A context manager.

    threads: those of local workers, so that the results are the same. jobs: how many side by side; None: all workers.
    """

    def __init__(self, engine: RemoteEngine, jobs: int | None = None) -> None:
        self.engine = engine
        self.executor = engine.name
        self.jobs = jobs or 1  # as long as the workers are not known
        self._local = Pool(jobs)
        self.cores = self._local.cores
        self._machines: dict[str, None] = {}

    @property
    def machine(self) -> str:
        """What the jobs ran on; this machine if there were none."""
        return "; ".join(self._machines) or machine(self.cores)

    def threads(self, waiting: int) -> int:
        """Number of threads for each of `waiting` jobs."""
        return self._local.threads(waiting)

    def __enter__(self) -> RemotePool:
        try:
            self.engine.start()
            self.jobs = self.engine.slots()
        except BaseException:
            self.engine.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.close()

    def run(self, jobs: Sequence[Job], on_message: OnMessage, alone: bool = False) -> None:
        """Run all jobs. alone: one at a time on all cores of a worker's machine. The records are written here.

        on_message: gets {"start": true}, the last scores of the tests, and {"done": true}. Raises what `Pool.run`
        raises.
        """
        _Run(self, jobs, on_message, alone).to_the_end()

    def note(self, answer: Answer) -> None:
        """Remember what a worker runs on."""
        self._machines[answer["machine"]] = None


class _Run:
    """One call of `RemotePool.run`."""

    def __init__(self, pool: RemotePool, jobs: Sequence[Job], on_message: OnMessage, alone: bool) -> None:
        self.pool = pool
        self.waiting = list(jobs)
        self.alone = alone
        self.threads = None if alone else pool.threads(len(jobs))
        self.on_message = on_message
        self.running: dict[Future[Answer], Job] = {}
        self.started: set[str] = set()
        self.deaths = Deaths()

    def to_the_end(self) -> None:
        """Run all jobs; see `RemotePool.run`."""
        try:
            while self.waiting or self.running:
                at_once = 1 if self.alone else self.pool.engine.slots()
                while self.waiting and len(self.running) < at_once:
                    self._begin(self.waiting.pop(0))
                # a timeout: the number of workers may change
                for future in wait(self.running, _POLL_S, FIRST_COMPLETED).done:
                    self._take(self.running.pop(future), future)
        finally:
            self._stop()
        self.deaths.raise_failures()

    def _begin(self, job: Job) -> None:
        if job.name not in self.started:
            self.started.add(job.name)
            self.on_message(job, {"start": True})
        content = {"allow_python": user_code_allowed(), **job.content, "data": data_of(job.content)}
        if "folder" in content:  # of snapshots
            content["folder"] = str(Path(content["folder"]).absolute())
        threads = job.threads or self.threads
        task = Task(content, str(job.result.absolute()), str(Path.cwd()), __version__, threads, job.fresh)
        self.running[self.pool.engine.submit(task)] = job

    def _take(self, job: Job, future: Future[Answer]) -> None:
        try:
            answer = future.result()
        except CancelledError:
            raise DragonError(f"{job.name}: {self.pool.executor}: cancelled, or the connection was lost") from None
        except Exception as error:
            how = self.pool.engine.worker_death(error)
            if how is None:
                text = f"{type(error).__name__}: {one_line(str(error))}"
                raise DragonError(f"{job.name}: {self.pool.executor}: {text}") from None
            self.deaths.give_up(job, how)  # the engine has given it again as often as it does
            return
        if "died" in answer:
            if self.deaths.give_again(job, answer["died"]):
                self.waiting.insert(0, job)
        elif "busy" in answer:  # another process, which shares the store, does this job
            self.waiting.append(job)
        elif "error" in answer:
            raise job_error(job, answer)
        else:
            self._finish(job, answer)

    def _finish(self, job: Job, answer: Answer) -> None:
        self.pool.note(answer)
        record = answer["record"]
        if read_result(job.result) is None:  # unless the worker shares the store
            write_atomically(job.result, json.dumps(record).encode())
        scores = _last_scores(record)
        if scores:
            self.on_message(job, scores)
        self.on_message(job, {"done": True})

    def _stop(self) -> None:
        """Cancel what waits, stop what runs, and write what is finished meanwhile."""
        if not self.running:
            return
        self.pool.engine.stop_running()
        for future in self.running:
            future.cancel()
        for future in wait(self.running, GRACE_S).done:
            if not future.cancelled() and future.exception() is None and "record" in (answer := future.result()):
                self._finish(self.running[future], answer)


def _last_scores(record: Message) -> Message:
    """The last tests by the net's own statistics, as the message of a test; empty for a record without any."""
    found = record.get("series")
    found = found if isinstance(found, dict) else {}  # a measurement of the cost has a list
    series = {name: axes for name, axes in found.items() if name.startswith("test/") and "@" not in name}
    scores = {
        name[len("test/") :]: values[-1] for name, (_, values) in series.items() if values and values[-1] is not None
    }
    if not scores:
        return {}
    return {"iter": max(iters[-1] for iters, _ in series.values() if iters), "test": scores, "statistics": "global"}
