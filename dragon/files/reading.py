"""Files opened for reading: a regular file, never a device, a pipe or a socket, which would hang or never end.

Commands remember what they have read, so that a layer or a snapshot does not overwrite it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = [
    "SpecialFileError",
    "open_regular",
    "read_bytes",
    "read_text",
    "remember_reads",
    "require_regular",
    "was_read",
]

_Path = str | os.PathLike[str]
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class SpecialFileError(OSError):
    """The path leads to a device, a pipe or a socket, as `kind` says."""

    def __init__(self, kind: str, path: _Path) -> None:
        super().__init__(errno.EINVAL, f"not a regular file, but {kind}", os.fspath(path))
        self.kind = kind


_seen: set[tuple[int, int]] | None = None  # device and inode; of all threads, since some read ahead


def open_regular(path: _Path) -> IO[bytes]:
    """The file, open for reading. OSError where it is missing, unreadable or not a regular file."""
    require_regular(path)
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # it may have become a pipe since
    try:
        _check(os.fstat(handle), path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: _Path) -> bytes:
    """All of a regular file. OSError as for `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_text(path: _Path, encoding: str = "utf-8", errors: str = "strict") -> str:
    """All of a text file, lines ending in "\\n". OSError as for `open_regular`, UnicodeDecodeError."""
    text = read_bytes(path).decode(encoding, errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def require_regular(path: _Path) -> None:
    """OSError unless `path` is a regular file: for libraries that open a file themselves."""
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "not a file name", repr(os.fspath(path)))
    _check(os.stat(path), path)


def _check(status: os.stat_result, path: _Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            raise SpecialFileError(name, path)
    if _seen is not None:
        _seen.add((status.st_dev, status.st_ino))


@contextmanager
def remember_reads(wanted: bool = True) -> Iterator[None]:
    """Within the block, `was_read` knows the files that have been opened in it; none where this is not wanted."""
    global _seen
    before, _seen = _seen, set() if wanted else None
    try:
        yield
    finally:
        _seen = before


def was_read(path: _Path) -> bool:
    """Whether the file at `path` was opened within the block of `remember_reads`."""
    if not _seen:
        return False
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) in _seen
