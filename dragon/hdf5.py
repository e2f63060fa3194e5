"""HDF5 files through h5py: opened with one-line errors, written atomically."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dragon.atomic import atomic_path
from dragon.errors import WeightsError

__all__ = ["atomic_h5", "open_h5"]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise WeightsError("HDF5 files need the package h5py: pip install h5py") from None
    return h5py


@contextmanager
def open_h5(path: str | Path) -> Iterator[Any]:
    """An HDF5 file open for reading. WeightsError when it is missing or no HDF5 file."""
    h5py = _h5py()
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise WeightsError(f"{path}: not an HDF5 file, or damaged") from None
    with file:
        yield file


@contextmanager
def atomic_h5(path: str | Path) -> Iterator[Any]:
    """An HDF5 file to write; it takes the name `path` only when the block ends without an error."""
    h5py = _h5py()
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        yield file
