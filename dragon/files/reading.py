"""Opens files for reading: only regular files, since a device, a pipe or a socket could block or never end.

Commands remember which files they have read, so that no layer or snapshot overwrites one.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

__all__ = [
    "SpecialFileError",
    "is_utf16",
    "open_number",
    "open_regular",
    "read_at",
    "read_bytes",
    "read_marked_text",
    "read_text",
    "remember_reads",
    "require_regular",
    "was_read",
]

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_Path = str | os.PathLike[str]
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class SpecialFileError(OSError):
    """The path is a device, a pipe or a socket; `kind` is that in words."""

    def __init__(self, kind: str, path: _Path) -> None:
        super().__init__(errno.EINVAL, f"not a regular file, but {kind}", os.fspath(path))
        self.kind = kind


_seen: set[tuple[int, int]] | None = None  # device and inode; shared by all threads, since some read ahead


def open_regular(path: _Path) -> IO[bytes]:
    """Open a file for reading. Raises OSError if it is missing, unreadable or not a regular file."""
    require_regular(path)
    handle = open_number(path, getattr(os, "O_NONBLOCK", 0))  # it may have been replaced by a pipe since
    try:
        _check(os.fstat(handle), path)
        return io.BufferedReader(_Ready(handle, path))
    except BaseException:
        os.close(handle)
        raise


def open_number(path: _Path, flags: int = 0) -> int:
    """The number of a file opened for reading, as bytes, which child processes do not inherit. Raises OSError."""
    for name in ("O_CLOEXEC", "O_BINARY", "O_NOINHERIT"):  # the first on POSIX, the others on Windows
        flags |= getattr(os, name, 0)
    return os.open(path, os.O_RDONLY | flags)


_seeking = threading.Lock()


def _seek_and_read(number: int, size: int, start: int) -> bytes:
    with _seeking:  # a file has one position
        os.lseek(number, start, os.SEEK_SET)
        return os.read(number, size)


# (number, size, start): up to `size` bytes of an open file from the position `start`; any thread may call it. Raises
# OSError. Windows has no pread.
read_at: Callable[[int, int, int], bytes] = getattr(os, "pread", _seek_and_read)


class _Ready(io.FileIO):
    """Raises SpecialFileError where a read would wait: some files that look regular are streams, as /proc/kmsg is."""

    def __init__(self, handle: int, path: _Path) -> None:
        super().__init__(handle, "rb")
        self._path = path

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        if count is None:
            raise SpecialFileError("a stream", self._path)
        return count

    def readall(self) -> bytes:
        content: bytes | None = super().readall()
        if content is None:
            raise SpecialFileError("a stream", self._path)
        return content


def read_bytes(path: _Path) -> bytes:
    """The content of a regular file. Raises OSError as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_text(path: _Path, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a regular file, with "\\n" line ends. Raises OSError as `open_regular`, UnicodeDecodeError."""
    text = read_bytes(path).decode(encoding, errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_utf16(content: bytes) -> bool:
    """Whether the content of a file begins with the mark of UTF-16, as some editors write text."""
    return content.startswith(_UTF16) and not content.startswith(codecs.BOM_UTF32_LE)  # which begins alike


def read_marked_text(path: _Path, errors: str = "strict") -> str:
    """As `read_text`, without the byte order mark that the file may begin with: of UTF-8, or of UTF-16, which it is."""
    content = read_bytes(path)
    text = content.decode("utf-16" if is_utf16(content) else "utf-8-sig", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def require_regular(path: _Path) -> None:
    """Raise OSError unless `path` is a regular file; for libraries that open files themselves."""
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
    """Record the files that are opened in the block, for `was_read`; with `wanted` false, record none."""
    global _seen
    before, _seen = _seen, set() if wanted else None
    try:
        yield
    finally:
        _seen = before


def was_read(path: _Path) -> bool:
    """Whether the file at `path` was opened in the current block of `remember_reads`."""
    if not _seen:
        return False
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) in _seen
