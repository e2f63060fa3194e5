"""Search paths: where the files that a prototxt names are looked for (nets, data, mean files, lists, weights)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from dragon.errors import UsageError

__all__ = ["find", "missing_hint", "path_or_none", "reason", "split_paths"]

_FETCHED = ("cifar10", "mnist", "mnist_lines", "mnist_scenes", "shapes", "synthetic")


def find(path: str, folder: Path | None) -> Path | None:
    """The first that exists of `path` from the working directory, from `folder`, and from the folders above that.

    folder: that of the prototxt. Returns None if nothing is found.
    """
    return next((place for place in _places(path, folder) if os.path.exists(place)), None)


def split_paths(text: str, folder: Path | None = None) -> list[str]:
    """The paths of a comma-separated list, each as `find` finds it; a path that exists may contain commas.

    Spaces around a path count only where there is a file of that name.

    Raises UsageError for an empty part, which would be the working directory.
    """
    parts, paths = text.split(","), []
    while parts:
        for count in range(len(parts), 0, -1):
            path = ",".join(parts[:count])
            if not path.strip():
                raise UsageError(f'the list of files "{text}" has an entry without a name')
            found = find(path, folder) or find(path.strip(), folder)
            if found is not None or count == 1:
                paths.append(str(found or path.strip()))
                del parts[:count]
                break
    return paths


def _places(path: str, folder: Path | None) -> Iterator[Path]:
    yield Path(path)
    if folder is not None and not os.path.isabs(path):
        folder = folder.resolve()
        yield from (above / path for above in (folder, *folder.parents))


def path_or_none(text: str | None) -> Path | None:
    """A path that may be missing, as the folder of a net without a file is, from its text."""
    return None if text is None else Path(text)


def reason(error: OSError) -> str:
    """Why the system refused a path, in its words."""
    return error.strerror or str(error)


def missing_hint(path: str | os.PathLike[str], folder: Path | None = None) -> str:
    """A hint `` (...)`` for the error about a missing path: where it was searched, how to fetch a known dataset."""
    parts = PurePath(path).parts
    where = ""
    if not os.path.isabs(path):
        where = f"looked for from {os.getcwd()}"
        if folder is not None and folder.resolve() != Path.cwd():
            where += f", from {folder.resolve()} and from the folders above that"
    known = next((name for name in _FETCHED if name in parts[:-1]), None)
    fetch = f"`dragon data {known}` fetches it" if known else ""
    both = "; ".join(part for part in (where, fetch) if part)
    return f" ({both})" if both else ""
