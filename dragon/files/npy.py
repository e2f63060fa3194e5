"""Arrays of numbers in NumPy's files (.npy)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.errors import DataError, one_line
from dragon.files.kinds import HEAD, kind_of_content
from dragon.files.reading import open_regular

__all__ = ["NpyRows", "npy_rows", "read_npy"]

# of versions 1 and 2; 3 is for names of fields, which arrays of numbers do not have
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class NpyRows:
    """The array of an open .npy file, of which `read` takes rows into memory. shape, dtype: those of the array."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        self.file, self.where = file, where
        head = file.read(HEAD)
        if not head.startswith(np.lib.format.MAGIC_PREFIX):  # NumPy would take it for a pickle
            kind = kind_of_content(head) if head else "an empty file"
            raise DataError(f"{where}: expected a .npy file of NumPy's, this is {kind or 'something else'}")
        file.seek(0)
        header = _HEADERS.get(np.lib.format.read_magic(file))
        self.shape, self.by_columns, self.dtype = (), False, np.dtype(object)
        if header is not None:
            self.shape, self.by_columns, self.dtype = header(file)
        if self.dtype.kind not in "fiub":
            raise DataError(f"{where}: holds no array of real numbers")
        self.start = file.tell()
        self.row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        expected = math.prod(self.shape) * self.dtype.itemsize
        there = file.seek(0, os.SEEK_END) - self.start
        if there < expected:
            raise DataError(f"{where}: has {how_many(there, 'byte')} of values, its header says {expected}")

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows `start` to `stop` (exclusive), or all. A file that has its columns in order is read as a whole."""
        if not self.by_columns and self.shape:
            first, last, _ = slice(start, stop).indices(self.shape[0])
            shape = (max(0, last - first), *self.shape[1:])
            return self._values(self.start + first * self.row_bytes, shape)
        whole = self._values(self.start, self.shape[::-1]).T
        return whole[start:stop] if self.shape else whole

    def _values(self, at: int, shape: tuple[int, ...]) -> NDArray[Any]:
        self.file.seek(at)
        values = np.empty(shape, self.dtype)
        file: Any = self.file  # a BufferedReader, whose readinto fills the buffer unless the file ends
        if values.nbytes and file.readinto(values.reshape(-1).view(np.uint8)) < values.nbytes:
            raise DataError(f"{self.where}: ends before its last value")
        return values


@contextmanager
def npy_rows(path: str | os.PathLike[str], what: str) -> Iterator[NpyRows]:
    """The array of real numbers in a .npy file, to be read by rows. what: names the file in errors, as "mean file".

    Raises DataError, also in the block, for a missing or damaged file, one of another kind, one without real numbers.
    """
    where = f"{what} {os.fspath(path)}"
    try:
        with open_regular(path) as file:
            yield NpyRows(file, where)
    except OSError as error:
        raise DataError(f"{where}: {error.strerror or error}") from None
    except (EOFError, ValueError, MemoryError, SyntaxError, TypeError, OverflowError) as error:
        raise DataError(f"{where}: {one_line(str(error))}") from None


def read_npy(path: str | os.PathLike[str], what: str) -> NDArray[Any]:
    """The array of real numbers that a .npy file holds. what and errors: as of `npy_rows`."""
    with npy_rows(path, what) as rows:
        return rows.read()
