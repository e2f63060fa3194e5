"""A lock on a name in a folder, held by one process at a time and given back by the system when that process ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

__all__ = ["LockedError", "locked"]


class LockedError(OSError):
    """Another process, or another part of this one, holds the lock; `owner` is its number, 0 if unknown."""

    def __init__(self, owner: int) -> None:
        super().__init__(f"locked by process {owner}")
        self.owner = owner


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; it is removed afterwards.

    Where the system or the file system has no such locks (flock), nothing is locked. Raises LockedError, and OSError
    when the file cannot be made.
    """
    try:
        import fcntl
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
                break  # else its former owner has removed it between the two calls
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
