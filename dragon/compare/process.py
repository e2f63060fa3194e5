"""A worker process, as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

import dragon.errors
from dragon.bases.user_code import user_code_allowed
from dragon.compare.jobs import Job, Message
from dragon.errors import one_line

__all__ = ["GRACE_S", "WorkerProcess"]

GRACE_S = 60  # time for workers to stop, which write a snapshot first

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class WorkerProcess:
    """A process that does one job at a time, with `threads` threads in `folder`; None: in the working directory.

    Its messages and, at its end, {"exit": status} come through the queue.
    """

    def __init__(
        self, threads: int, messages: queue.Queue[tuple[WorkerProcess, Message]], folder: Path | None = None
    ) -> None:
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
            cwd=folder,
            # Ctrl-C reaches this process alone, which then asks the workers to stop; the second line is for Windows
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.reader = threading.Thread(target=self._read, args=(messages,), daemon=True)
        self.reader.start()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def give(self, job: Job) -> None:
        """Hand over a job; a worker that is dead already reports so itself."""
        assert self.process.stdin is not None
        self.job = job
        content = {"allow_python": user_code_allowed(), **job.content}
        content |= {"result": str(job.result), "threads": self.threads}
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(content).encode() + b"\n")
            self.process.stdin.flush()

    def _read(self, messages: queue.Queue[tuple[WorkerProcess, Message]]) -> None:
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
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.stderr.close()
