"""Atomic creation of folders: a folder appears complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dragon.errors import DataError
from dragon.files.atomic import sync_folder
from dragon.files.folders import check_folder

__all__ = ["new_folder"]


@contextmanager
def new_folder(path: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """A temporary folder, which is renamed to `path` when the block ends without an error.

    what: the kind of folder, for messages. Raises DataError if `path` exists or the disk fails.
    """
    target = Path(path)
    if os.path.lexists(target):  # also a link to nothing, which a folder cannot replace
        raise DataError(f'"{target}" exists already: remove it or choose another folder')
    try:
        check_folder(target.parent, target)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise DataError(f'{what} "{target}" cannot be written: {error.strerror}') from None
    try:
        yield temporary
        temporary.chmod(0o755)
        os.rename(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise DataError(f'{what} "{target}" cannot be written: {error}') from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
