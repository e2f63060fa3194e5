"""HDF5 files by h5py: opened with checks and one-line errors, written atomically."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dragon.counting import how_many
from dragon.errors import WeightsError, one_line
from dragon.files.atomic import atomic_write
from dragon.files.hdf5_checks import check_bytes, check_contents, check_sizes, checksum_of_bytes
from dragon.memory.storage import Array

__all__ = [
    "atomic_h5",
    "open_h5",
    "read_array",
    "read_number",
    "read_text",
    "require_numbers",
    "write_text",
    "write_values",
]

# what h5py raises for inconsistent files
_DAMAGE = (
    OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, UnicodeError, SystemError, OverflowError,
)  # fmt: skip
_MAX_TEXT = 1 << 16
_numbers = itertools.count()


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise WeightsError("HDF5 files need the package h5py: pip install h5py") from None
    return h5py


@contextmanager
def open_h5(path: str | Path) -> Iterator[Any]:
    """Open an HDF5 file for reading, after a check that it refers to no other file (see dragon.files.hdf5_checks).

    Raises WeightsError if it is missing, not HDF5, refers to other files, does not agree with its checksum, or is
    damaged where the block reads.
    """
    h5py = _h5py()
    if not os.path.exists(path):
        raise WeightsError(f"{path}: no such file")
    check_bytes(path)
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise WeightsError(f"{path}: not an HDF5 file, or damaged") from None
    with file:
        try:
            check_contents(path, file)
            yield file
        except _DAMAGE as error:
            raise WeightsError(f"{path}: damaged, or not what was expected: {one_line(str(error))}") from None


@contextmanager
def atomic_h5(path: str | Path, checksum: bool = False) -> Iterator[Any]:
    """An HDF5 file in memory, which is written to `path` when the block ends without an error. Raises OSError.

    checksum: append one of all bytes, which `open_h5` compares. The HDF5 library does not write to disk itself: on a
    full disk it would end the process by a signal.
    """
    h5py = _h5py()
    name = f"memory {next(_numbers)}"  # the library treats files of one name as one file
    with atomic_write(path) as target, h5py.File(name, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
        target.write(image)
        if checksum:
            target.write(checksum_of_bytes(image))


def write_values(group: Any, name: str, values: Array) -> None:
    """Write a dataset of numbers with HDF5's checksum (fletcher32), so that reading finds changed bytes."""
    checked = {"fletcher32": True, "chunks": True} if values.ndim and values.size else {}
    group.create_dataset(name, data=values, **checked)


def require_numbers(item: Any) -> None:
    """Raise ValueError unless `item` is a dataset of real numbers whose size its file can hold."""
    if not isinstance(item, _h5py().Dataset) or item.shape is None:
        raise ValueError(f"{item.name} holds no values")
    if item.dtype.kind not in "fiub":
        kind = {"c": "complex numbers", "V": "records", "S": "text", "O": "text or references"}.get(item.dtype.kind)
        raise ValueError(f"{item.name} holds {kind or item.dtype}, expected real numbers")
    check_sizes([item])


def read_array(dataset: Any) -> Array:
    """The values of a dataset of real numbers. Raises ValueError as `require_numbers`."""
    require_numbers(dataset)
    array: Array = dataset[()]
    return array


def read_number(dataset: Any) -> int:
    """The integer of a dataset of shape () or, as BVLC Caffe writes it, (1,). Raises ValueError for anything else."""
    require_numbers(dataset)
    if dataset.size != 1:
        raise ValueError(f"{dataset.name} has shape {dataset.shape}, expected one number")
    value = dataset[()].reshape(())
    if dataset.dtype.kind not in "iu" and value != int(value):  # int() raises for NaN and infinity
        raise ValueError(f"{dataset.name} is {value}, expected a whole number")
    return int(value)


def read_text(dataset: Any) -> str:
    """The fixed-length string of a dataset of one element, up to its NUL. Raises ValueError for anything else."""
    if not isinstance(dataset, _h5py().Dataset) or dataset.dtype.kind != "S" or dataset.size != 1:
        raise ValueError(f"{dataset.name} is not one string of fixed length")
    if dataset.dtype.itemsize > _MAX_TEXT:
        raise ValueError(f"{dataset.name} is text of {how_many(dataset.dtype.itemsize, 'byte')}")
    content = bytes(dataset[()].reshape(()).item() if dataset.shape else dataset[()])
    return content.partition(b"\0")[0].decode()


def write_text(group: Any, name: str, text: str) -> None:
    """Write a scalar string that ends in NUL, as BVLC Caffe writes and reads it."""
    h5py = _h5py()
    content = text.encode() + b"\0"
    kind, space = h5py.h5t.C_S1.copy(), h5py.h5s.create(h5py.h5s.SCALAR)
    kind.set_size(len(content))
    dataset = h5py.h5d.create(group.id, name.encode(), kind, space)
    dataset.write(space, space, np.array(content, f"S{len(content)}"), kind)
