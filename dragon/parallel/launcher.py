"""Starts the ranks of a command by mpiexec, watches them, and says which one died."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import TextIO

from dragon.parallel import watcher
from dragon.parallel.mpiexec import find_mpiexec, rank_environment
from dragon.parallel.mpiexec_lines import is_own, without_blocks
from dragon.parallel.notes import MARK, Heard
from dragon.parallel.ranks import RANK_NAMES

__all__ = ["Ended", "Launcher"]

_ERROR = "dragon: error: "
_INTERRUPTED = "dragon: interrupted"
_END_S = 4.0  # seconds that mpiexec has to end the ranks when one has died, before this process does
_LOOK_S = 0.2
# which signal a rank gets for which one of mpiexec. Open MPI passes two on; SIGTERM is how it ends ranks.
_PASSED_ON = "INT:INT,TERM:TERM,HUP:HUP"
_BY_OPEN_MPI = "USR1:TERM,USR2:INT,TERM:KILL,HUP:HUP"


@dataclass
class Ended:
    """How a start of the ranks ended.

    status: of mpiexec. death: which rank was killed, and by what; None if that is not known or did not happen. errors:
    the lines of errors that ranks wrote. asked: whether a signal asked this process to stop.
    """

    status: int
    death: str | None = None
    errors: list[str] = field(default_factory=list)
    asked: bool = False
    said: list[str] = field(default_factory=list)  # mpiexec's own lines

    @property
    def text(self) -> str:
        """One line: the rank that died, the error of a rank, or what else is known."""
        if self.death is not None:
            return self.death
        if self.errors:  # that of rank 0, which has no prefix, if there is one
            return min(self.errors, key=lambda line: line.startswith("rank "))
        last = f": {self.said[-1]}" if self.said else ""
        how = f"signal {-self.status}" if self.status < 0 else f"status {self.status}"
        return f"the ranks ended with {how}{last}"


class Launcher:
    """Runs a command of Dragon on several ranks, each a process of this Python.

    ranks: how many; one needs no mpiexec. Raises UsageError where mpi4py, an MPI library or its mpiexec is missing.
    """

    def __init__(self, ranks: int, what: str) -> None:
        self.ranks = ranks
        self.heard = Heard()
        self._mpiexec = None if ranks == 1 else find_mpiexec(what)
        self._open_mpi = self._mpiexec is not None and self._mpiexec.open_mpi

    def run(self, words: Sequence[str]) -> Ended:
        """Start the ranks with these words behind `dragon`, and wait for their end.

        What they write goes to this process's stdout and stderr, line by line, but for notes, errors, interrupts,
        and what mpiexec says of a process that died.
        SIGINT, SIGTERM and SIGHUP are passed on. When this process dies, rank 0 stops with a snapshot: see `watch`.
        When a rank has died and mpiexec lets the others live, which that of Intel MPI does before MPI_Init, this
        process ends them.
        """
        self.heard.forget_ranks()
        before = [] if self._mpiexec is None else self._mpiexec.command(self.ranks)
        process = subprocess.Popen(
            # -P: no module is taken from the working directory, as for the program `dragon`
            [*before, *self._watcher(), sys.executable, "-P", "-m", "dragon", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=rank_environment(),
            start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
        )
        ended = Ended(0)
        try:
            with self._passing_on(process, ended):
                self._read(process, ended)
                ended.status = process.wait()
        finally:
            if process.poll() is None:
                _end(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        return ended

    def _read(self, process: subprocess.Popen[bytes], ended: Ended) -> None:
        """Read both streams of mpiexec to their ends; Hydra writes its own lines to stdout, Open MPI to stderr."""
        assert process.stdout is not None
        assert process.stderr is not None

        def take_own(line: str) -> bool:
            own = is_own(line)
            ended.said += [line] if own else []
            return own

        def take(line: str) -> bool:
            if line.startswith(_ERROR):
                ended.errors.append(line[len(_ERROR) :])
                return True
            return line == _INTERRUPTED or self.heard.take(line) or take_own(line)

        thread = threading.Thread(target=_forward, args=(process.stdout, sys.stdout, take_own), daemon=True)
        thread.start()
        over = threading.Event()
        ender = threading.Thread(target=self._end_with_the_first, args=(process, over), daemon=True)
        ender.start()
        _forward(without_blocks(process.stderr, ended.said.append), sys.stderr, take)
        thread.join()
        over.set()
        ender.join()
        ended.death = self.heard.death()

    def _end_with_the_first(self, process: subprocess.Popen[bytes], over: threading.Event) -> None:
        """Wait until a rank has died, and then for mpiexec to end the others; end them where it does not."""
        while not over.wait(_LOOK_S):
            if self.heard.killed or self.heard.failed:
                if not over.wait(_END_S):
                    _end(process)
                return

    @contextmanager
    def _passing_on(self, process: subprocess.Popen[bytes], ended: Ended) -> Iterator[None]:
        """Pass signals on to the ranks in the block."""

        def stop(number: int, frame: FrameType | None) -> None:
            ended.asked = True
            if self._open_mpi and sys.platform != "win32":
                number = signal.SIGUSR1 if number == signal.SIGTERM else signal.SIGUSR2
            with suppress(OSError):
                process.send_signal(number)

        def to_rank_0(number: int, frame: FrameType | None) -> None:
            # SIGHUP ends mpiexec; what one rank is asked to do is done by all
            for noted in self.heard.ranks:
                if noted.rank == 0 and noted.host == platform.node():
                    with suppress(OSError):
                        os.kill(noted.pid, number)

        handlers = {signal.SIGINT: stop, signal.SIGTERM: stop}
        if sys.platform != "win32":
            handlers[signal.SIGHUP] = to_rank_0
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watcher(self) -> list[str]:
        """The words before a rank's command that let a watcher start it; none where a system cannot fork."""
        if sys.platform == "win32":
            return []
        signals = _BY_OPEN_MPI if self._open_mpi else _PASSED_ON
        return [sys.executable, "-I", "-S", watcher.__file__, MARK, str(self.ranks), ",".join(RANK_NAMES), signals]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and end it."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()
    process.wait()


def _forward(lines: Iterable[bytes], to: TextIO, take: Callable[[str], bool]) -> None:
    """Write lines to a stream as they come, but for those that `take` takes."""
    empty = b""  # lines that go where the next one goes: what Hydra says begins with one
    for raw in lines:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if not line:
            empty += raw
            continue
        if not take(line):
            _show(empty + raw, to)
        empty = b""
    _show(empty, to)


def _show(raw: bytes, to: TextIO) -> None:
    """Write bytes as they came. Where nobody reads any more they are dropped: the ranks go on."""
    with suppress(OSError, ValueError):
        to.flush()
        buffer = getattr(to, "buffer", None)
        if buffer is None:  # a stream in its place, without bytes
            to.write(raw.decode(errors="replace"))
        else:
            buffer.write(raw)
        to.flush()
