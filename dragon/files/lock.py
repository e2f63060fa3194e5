"""Lock files: held by one process at a time, and released by the system when that process ends."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

__all__ = ["LockedError", "locked"]


class LockedError(OSError):
    """The lock is held already, by another process or by this one. `owner`: the process ID, 0 if unknown."""

    def __init__(self, owner: int) -> None:
        super().__init__(f"locked by process {owner}")
        self.owner = owner


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` in the block, and remove it afterwards.

    Does nothing where the system or the file system has no flock. Raises LockedError if the lock is held, OSError if
    the file cannot be created.
    """
    try:
        fcntl: Any = importlib.import_module("fcntl")  # type checkers know its functions on POSIX only
    except ImportError:
        yield
        return
    with ExitStack() as stack:
        while True:
            file = stack.enter_context(path.open("a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(_owner(file)) from None
            except OSError:  # the file system has no locks
                path.unlink(missing_ok=True)
                yield
                return
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break  # otherwise its owner removed it between the two calls
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _owner(file: IO[str]) -> int:
    file.seek(0)
    text = file.read(20)
    return int(text) if text.isdecimal() else 0
