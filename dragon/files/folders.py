"""Folders: those that files are written into, whether they are there and how they are made, and the files below one.

At any depth: pathlib and os.walk call themselves for each level, of which Python allows some 1,000.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["check_folder", "files_below", "make_folder", "walk"]


def check_folder(folder: Path, path: str | os.PathLike[str], made: bool = False) -> None:
    """Raise OSError of `path` where no file can be made in `folder`, as it is missing, no folder, or write-protected.

    made: whether a folder that is missing will be made, as `make_folder` does, if that is possible.
    """
    for place in (folder, *folder.parents):
        try:
            mode = place.stat().st_mode
        except FileNotFoundError:
            if place.is_symlink():
                raise _in_the_way(place, path) from None
            if not made or place == place.parent:
                raise OSError(errno.ENOENT, f'the folder "{place}" does not exist', str(path)) from None
        except NotADirectoryError:
            raise _in_the_way(place, path) from None
        except OSError as error:  # a folder above it cannot be entered, or a name is too long
            raise OSError(error.errno, error.strerror, str(path)) from None
        else:
            folder = place
            break
    if not stat.S_ISDIR(mode):
        raise _in_the_way(folder, path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, f'the folder "{folder}" cannot be written to', str(path))


def make_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder with those above it, unless it is there. Raises OSError that names `folder` and says why not."""
    path = Path(folder)
    try:
        missing = [place for place in (path, *path.parents) if not os.path.lexists(place)]
        for place in reversed(missing):
            with suppress(FileExistsError):  # another process makes it too
                place.mkdir()
        path.mkdir(exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError):  # the second: a link to nothing
        raise _in_the_way(path, path) from None
    except PermissionError as error:
        above = next(place for place in path.parents if place.is_dir())
        raise OSError(error.errno, f'the folder "{above}" cannot be written to', str(path)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def walk(root: str | os.PathLike[str], enter: Callable[[str], bool] = bool) -> Iterator[tuple[str, list[str]]]:
    """A folder and those below it, each with the sorted names of its files; what cannot be read is left out.

    Above before below, folders of one folder by name. enter: whether to, by the name of a folder. Links to folders are
    not entered.
    """
    stack = [os.fspath(root)]
    while stack:
        place = stack.pop()
        files, folders = [], []
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_dir():
                    files.append(entry.name)
                elif not entry.is_symlink() and enter(entry.name):
                    folders.append(entry.name)
        yield place, sorted(files)
        stack += [os.path.join(place, name) for name in sorted(folders, reverse=True)]


def files_below(root: str | os.PathLike[str]) -> list[Path]:
    """The files in a folder and in the folders below it, sorted."""
    found = [Path(place, name) for place, names in walk(root) for name in names]
    return sorted(path for path in found if path.is_file())


def _in_the_way(folder: Path, path: str | os.PathLike[str]) -> OSError:
    """The error of `path` where `folder`, or one above it, is a file or a link to nothing."""
    places = (folder, *folder.parents)
    file = next((place for place in places if os.path.lexists(place) and not place.is_dir()), folder)
    if file.is_symlink() and not file.exists():
        return OSError(errno.ENOENT, f'"{file}" is a link to "{os.readlink(file)}", which does not exist', str(path))
    return OSError(errno.ENOTDIR, f'"{file}" is a file, not a folder', str(path))
