"""HDF5 files through h5py: opened with one-line errors, written atomically."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Any

from dragon.errors import WeightsError, one_line
from dragon.files.atomic import atomic_path
from dragon.memory.storage import Array

__all__ = ["atomic_h5", "open_h5", "read_array"]

# what h5py raises for files that contradict themselves
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, UnicodeError, SystemError)
# Of a dataset to its file: no compression reaches it, so that a larger one is a damaged shape.
_LARGEST_RATIO = 1100
# how a heap of names, and one of strings, begins: signature, version, three zeros; then comes its size
_NAMES, _STRINGS = b"HEAP\0\0\0\0", b"GCOL\1\0\0\0"
_HEAPS = (_NAMES, _STRINGS)
_NAMES_HEAP = Struct("<QQQ")  # size, offset of the first gap, address of the content
_GAP = Struct("<QQ")  # offset of the next gap, size
_NO_GAP = 1
_LENGTH = Struct("<Q")
_SIZE_OF_LENGTHS = 14  # where the file says how many bytes a length has
_SUPERBLOCK = 96
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
    _check_heaps(path)
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise WeightsError(f"{path}: not an HDF5 file, or damaged") from None
    with file:
        try:
            yield file
        except _DAMAGE as error:
            raise WeightsError(f"{path}: damaged, or not what was expected: {one_line(str(error))}") from None


def _check_heaps(path: str | Path) -> None:
    """WeightsError for a heap larger than its file, or with a circle of gaps: either takes the library all memory."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _SUPERBLOCK:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if content[_SIZE_OF_LENGTHS] != _LENGTH.size:
                    return
                for head in _HEAPS:
                    at = content.find(head)
                    while 0 <= at <= size - len(head) - _LENGTH.size:
                        if _LENGTH.unpack_from(content, at + len(head))[0] > size:
                            raise WeightsError(f"{path}: damaged: a heap at byte {at} is larger than the file")
                        if head is _NAMES and _goes_round(content, at + len(head)):
                            raise WeightsError(f"{path}: damaged: the gaps of a heap at byte {at} form a circle")
                        at = content.find(head, at + 1)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None


def _goes_round(content: mmap.mmap, at: int) -> bool:
    """Whether the list of a heap's gaps has more entries than the heap has room for."""
    if at + _NAMES_HEAP.size > len(content):
        return False
    size, gap, start = _NAMES_HEAP.unpack_from(content, at)
    left = size // _GAP.size + 1
    while gap != _NO_GAP and gap + _GAP.size <= size and start + gap + _GAP.size <= len(content):
        left -= 1
        if left < 0:
            return True
        gap = _GAP.unpack_from(content, start + gap)[0]
    return False


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
