"""The number of threads of the BLAS that NumPy multiplies with, where that is the OpenBLAS of NumPy's own wheels."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["blas_threads", "set_blas_threads"]

# The wheels' build prefixes the names and, with 64-bit integers, adds an ending.
_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


@cache
def _function(name: str) -> Any:
    """OpenBLAS's function of this name, or None. The library is loaded already; this only finds it again."""
    root = Path(np.__file__).parent
    for folder in (root.parent / "numpy.libs", root / ".libs", root / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            library = ctypes.CDLL(str(path))
            for pattern in _NAMES:
                function = getattr(library, pattern.format(name), None)
                if function is not None:
                    return function
    return None


def set_blas_threads(count: int) -> bool:
    """Let matrix products of this process use `count` threads. Returns False where the BLAS has no such function."""
    function = _function("set_num_threads")
    if function is not None:
        function(ctypes.c_int(count))
    return function is not None


def blas_threads() -> int | None:
    """The number of threads of matrix products, None where the BLAS has no such function."""
    function = _function("get_num_threads")
    return None if function is None else int(function())
