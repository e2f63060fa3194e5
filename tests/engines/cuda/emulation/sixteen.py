"""16-bit numbers on NumPy, where bfloat16 are the bits in arrays of uint16."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

EPS = {np.dtype(np.float16): 2.0**-11, np.dtype(np.uint16): 2.0**-9}  # largest relative error of a rounding


def wide(array: NDArray[Any], real: Any = np.float32) -> NDArray[Any]:
    """The values, as `real`."""
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(real, copy=False)


def narrow(values: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Rounded to the nearest, ties to even, as the kernels do; other types as NumPy has them."""
    if np.dtype(dtype) != np.uint16:
        with np.errstate(over="ignore"):
            return np.asarray(values).astype(dtype)
    single = np.ascontiguousarray(values, np.float32)
    bits = single.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(single), 0x7FFF, rounded).astype(np.uint16)


def put(target: NDArray[Any], values: Any) -> None:
    """Write values into an array of any of these types."""
    target[...] = narrow(values, target.dtype)
