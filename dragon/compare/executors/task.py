"""A job on a worker of MPI or Dask: done by a process of its own, whose record goes back to the parent.

The worker itself computes nothing. So a job that is killed, for lack of memory for example, does not take the worker
along, and a worker of Dask with several threads does several jobs. A process stays for the next job for a while.
"""

from __future__ import annotations

import contextlib
import platform
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dragon.compare.jobs import Job, Message
from dragon.compare.machine import machine, usable_cores
from dragon.compare.process import WorkerProcess
from dragon.compare.store import read_result
from dragon.files.folders import make_folder
from dragon.version import __version__

__all__ = ["Answer", "Task", "do_task"]

Answer = dict[str, Any]

_POLL_S = 1.0
_IDLE_S = 30.0


@dataclass(frozen=True)
class Task:
    """What is sent to a worker.

    content: see dragon.compare.worker. result: path of the record. folder: the parent's working directory. version:
    of the parent's Dragon. threads: None, all cores of the machine. fresh: in a process that has done nothing else.
    """

    content: Message
    result: str
    folder: str
    version: str
    threads: int | None
    fresh: bool


def do_task(task: Task, stop: Callable[[], bool] = lambda: False) -> Answer:
    """Do a job. stop: asked every second.

    Returns {"record", "machine"}, {"error", "type"}, {"busy"} or {"died": how}.
    """
    if task.version != __version__:
        text = f"{platform.node()} has Dragon {__version__}, the experiment was started by {task.version}"
        return {"error": text, "type": "UsageError"}
    cores = usable_cores()
    threads = task.threads or cores
    result, folder = Path(task.result), Path(task.folder)
    try:
        make_folder(result.parent)
    except OSError as error:
        text = f"{platform.node()}: {result.parent}: cannot be made: {error.strerror}"
        return {"error": text, "type": "DataError"}
    served = _Served.take(threads, folder if folder.is_dir() else None, task.fresh)
    again = False
    try:
        served.worker.give(Job("", result, task.content))
        answer = served.wait(stop)
        again = "done" in answer and not task.fresh
    finally:
        served.release(again)
    if "done" not in answer:
        return answer
    record = read_result(result)
    if record is None:
        return {"error": f"{platform.node()}: {result}: the worker left no result", "type": "DataError"}
    return {"record": record, "machine": machine(cores)}


class _Served:
    """A worker process of this machine, with its messages."""

    idle: ClassVar[list[_Served]] = []
    lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, threads: int, folder: Path | None) -> None:
        self.folder = folder
        self.messages: queue.Queue[tuple[WorkerProcess, Message]] = queue.Queue()
        self.worker = WorkerProcess(threads, self.messages, folder)
        self.timer = threading.Timer(0, self._expire)

    @classmethod
    def take(cls, threads: int, folder: Path | None, fresh: bool) -> _Served:
        """An idle process, or a new one."""
        with cls.lock:
            for one in cls.idle:
                if (one.worker.threads, one.folder) == (threads, folder) and one.worker.alive and not fresh:
                    cls.idle.remove(one)
                    one.timer.cancel()
                    return one
        return cls(threads, folder)

    def wait(self, stop: Callable[[], bool]) -> Message:
        """The last message of the job."""
        asked = False
        while True:
            message: Message = {}
            with contextlib.suppress(queue.Empty):
                _, message = self.messages.get(timeout=_POLL_S)
            if "exit" in message:
                return {"died": self.worker.cause(message["exit"])}
            if message.keys() & {"done", "busy", "error"}:
                return message
            if not asked and stop():
                asked = True
                self.worker.ask_to_stop()

    def release(self, again: bool) -> None:
        """End the process, or let it wait for another job."""
        if not again:
            self.worker.ask_to_stop()
            self.worker.stop()
            return
        self.worker.job = None
        with _Served.lock:
            _Served.idle.append(self)
            self.timer = threading.Timer(_IDLE_S, self._expire)
            self.timer.daemon = True
            self.timer.start()

    def _expire(self) -> None:
        with _Served.lock:
            if self not in _Served.idle:
                return
            _Served.idle.remove(self)
        self.release(False)
