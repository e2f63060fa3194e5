"""Workers of a comparison that do their jobs in this process: importing Dragon takes longer than such a job."""

from __future__ import annotations

import gc
import io
import json
import queue
import threading
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

from dragon.compare import worker
from dragon.compare.jobs import Message
from dragon.compare.process import WorkerProcess

__all__ = ["WorkerHere"]


class WorkerHere(WorkerProcess):
    """A worker that has done a job when `give` returns; jobs and messages are JSON as between processes."""

    def __init__(
        self, threads: int, messages: queue.Queue[tuple[WorkerProcess, Message]], folder: Path | None = None
    ) -> None:
        self.job = None
        self.threads = threads
        self.stderr = io.BytesIO()
        self.process: Any = _Here(lambda message: messages.put((self, json.loads(json.dumps(message)))))
        self.reader = threading.Thread()
        self.reader.start()


class _Here:
    """In place of the process, and of its stdin."""

    def __init__(self, send: worker.Report) -> None:
        self.send = send
        self.stdin = self
        self.closed = False

    def write(self, line: bytes) -> None:
        with mock.patch.object(worker, "_send", self.send), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in a process, which prints them
            self.send(worker._answer(json.loads(line)))
        gc.collect()

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def terminate(self) -> None:
        pass

    def wait(self, timeout: float | None = None) -> int:
        return 0
