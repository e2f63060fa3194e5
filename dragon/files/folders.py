"""Folders that files are written into: are they there, and how they are made."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["check_folder", "make_folder"]


def check_folder(folder: Path, path: str | os.PathLike[str], made: bool = False) -> None:
    """Raise OSError of `path` where no file can be made in `folder`, as it is missing, no folder, or write-protected.

    made: whether a folder that is missing will be made, as `make_folder` does, if that is possible.
    """
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        if folder.is_symlink():
            raise _in_the_way(folder, path) from None
        if made and folder != folder.parent:
            check_folder(folder.parent, path, made)
            return
        raise OSError(errno.ENOENT, f'the folder "{folder}" does not exist', str(path)) from None
    except NotADirectoryError:
        raise _in_the_way(folder, path) from None
    except OSError as error:  # a folder above it cannot be entered, or a name is too long
        raise OSError(error.errno, error.strerror, str(path)) from None
    if not stat.S_ISDIR(mode):
        raise _in_the_way(folder, path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, f'the folder "{folder}" cannot be written to', str(path))


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder with those above it, unless it is there. Raises OSError that names `folder` and says why not."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _in_the_way(path, path) from None
    except PermissionError as error:
        above = next(place for place in path.parents if place.is_dir())
        raise OSError(error.errno, f'the folder "{above}" cannot be written to', str(path)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _in_the_way(folder: Path, path: str | os.PathLike[str]) -> OSError:
    """The error of `path` where `folder`, or one above it, is a file or a link to nothing."""
    places = (folder, *folder.parents)
    file = next((place for place in places if os.path.lexists(place) and not place.is_dir()), folder)
    if file.is_symlink() and not file.exists():
        return OSError(errno.ENOENT, f'"{file}" is a link to "{os.readlink(file)}", which does not exist', str(path))
    return OSError(errno.ENOTDIR, f'"{file}" is a file, not a folder', str(path))
