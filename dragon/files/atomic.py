"""Atomic writes: a file appears complete or not at all."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dragon.files.folders import check_folder

__all__ = ["atomic_path", "atomic_write", "check_writable", "remove_unfinished", "sync_folder", "write_atomically"]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the same folder; the file there replaces `path` when the block ends without an error.

    It is synced to disk before the rename, so that after a power cut there is the old file or the new one. Raises
    OSError that names `path` and says what is wrong with its folder; also where `path` is a device or a pipe, which
    must not be replaced by a file, or "-".
    """
    target = _regular(path)
    import tempfile  # with what it needs, as much as all that a net reads its weights with

    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:  # it would name the temporary file
        check_folder(target.parent, path)
        raise OSError(error.errno, error.strerror, str(path)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as written:  # Windows syncs only what is open for writing
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, name):
            raise OSError(error.errno, error.strerror, str(path)) from None  # a full disk, or a limit
        raise
    sync_folder(target.parent)


def _regular(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if str(target) == "-":  # which elsewhere stands for the standard output
        raise OSError(errno.EINVAL, "the name of a file is needed here, this is not written to standard output", "-")
    if target.parent == Path("/dev") or (target.exists() and not target.is_file()):
        kind = errno.EISDIR if target.is_dir() else errno.EINVAL
        reason = os.strerror(kind) if target.is_dir() else "not a regular file"
        raise OSError(kind, reason, str(path))
    return target


def check_writable(path: str | os.PathLike[str], made: bool = False) -> None:
    """Raise OSError where `atomic_path` could not write a file, so that nobody computes what cannot be written.

    made: whether the folder will be made where it is missing.
    """
    check_folder(_regular(path).parent, path, made)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write, which replaces `path` when the block ends without an error. Raises OSError."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the content of `path`, atomically. Raises OSError."""
    with atomic_write(path) as file:
        file.write(content)


def remove_unfinished(folder: Path, name: str) -> list[Path]:
    """Remove the temporary files that killed processes left of files in a folder; the removed paths.

    name: a regular expression for the names of the files that were to be written. No other process may be writing them.
    Raises OSError.
    """
    temporary = re.compile(rf"\.(?:{name})\.\w{{8}}")
    found = [path for path in folder.iterdir() if temporary.fullmatch(path.name) and path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def sync_folder(folder: Path) -> None:
    """Sync `folder` to disk, so that a rename in it survives a power cut, where the system can open folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_asking = threading.Lock()


def _umask() -> int:
    with _asking:  # it is asked for by setting another one, which a second thread would take for the real one
        current = os.umask(0o077)
        os.umask(current)
    return current
