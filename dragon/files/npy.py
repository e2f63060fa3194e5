"""Arrays of numbers in NumPy's files (.npy)."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import DataError, one_line
from dragon.files.kinds import HEAD, kind_of_content
from dragon.files.reading import read_bytes

__all__ = ["read_npy"]


def read_npy(path: str | os.PathLike[str], what: str) -> NDArray[Any]:
    """The array of real numbers that a .npy file holds. what: names the file in errors, such as "mean file".

    Raises DataError for a missing or damaged file, for one of another kind, and for one without real numbers.
    """
    where = f"{what} {os.fspath(path)}"
    try:
        content = read_bytes(path)
        if not content.startswith(np.lib.format.MAGIC_PREFIX):  # NumPy would take it for a pickle
            kind = kind_of_content(content[:HEAD]) if content else "an empty file"
            raise DataError(f"{where}: expected a .npy file of NumPy's, this is {kind or 'something else'}")
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
            return array
    except OSError as error:
        raise DataError(f"{where}: {error.strerror or error}") from None
    except (EOFError, ValueError, MemoryError, SyntaxError, TypeError, OverflowError) as error:
        if "pickle" not in str(error):  # NumPy's advice about arrays of Python objects
            raise DataError(f"{where}: {one_line(str(error))}") from None
    raise DataError(f"{where}: holds no array of real numbers")
