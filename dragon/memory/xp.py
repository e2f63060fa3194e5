"""The array library of an array: NumPy, or CuPy for arrays on a GPU."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np

__all__ = ["xp_of"]


def xp_of(array: object) -> ModuleType:
    """`numpy` or `cupy`, whichever `array` belongs to. CuPy is not imported: its array proves that it is."""
    if isinstance(array, np.ndarray):
        return np
    return sys.modules.get("cupy", np)
