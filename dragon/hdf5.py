"""HDF5 files through h5py: opened with one-line errors, written atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dragon.atomic import atomic_path
from dragon.errors import WeightsError, one_line
from dragon.storage import Array

__all__ = ["atomic_h5", "open_h5", "read_array"]

# what h5py raises for files that contradict themselves
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, UnicodeError, SystemError)
# Of a dataset to its file: no compression reaches it, so that a larger one is a damaged shape.
_LARGEST_RATIO = 1100
_ALWAYS_FINE = 1 << 26  # bytes: parts that were never written take no room in a file


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise WeightsError("HDF5 files need the package h5py: pip install h5py") from None
    return h5py


@contextmanager
def open_h5(path: str | Path) -> Iterator[Any]:
    """An HDF5 file open for reading. WeightsError when it is missing, not HDF5, or damaged where the block reads."""
    h5py = _h5py()
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise WeightsError(f"{path}: not an HDF5 file, or damaged") from None
    with file:
        try:
            yield file
        except _DAMAGE as error:
            raise WeightsError(f"{path}: damaged, or not what was expected: {one_line(str(error))}") from None


@contextmanager
def atomic_h5(path: str | Path) -> Iterator[Any]:
    """An HDF5 file to write; it takes the name `path` only when the block ends without an error."""
    h5py = _h5py()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        yield file


def read_array(dataset: Any) -> Array:
    """All of a dataset. ValueError when it claims more than its file can hold, before memory is asked for."""
    if dataset.nbytes > max(_ALWAYS_FINE, _LARGEST_RATIO * os.path.getsize(dataset.file.filename)):
        raise ValueError(f"dataset {dataset.name} of shape {dataset.shape} in a small file")
    array: Array = dataset[()]
    return array
