"""How far the values of two arrays are apart, where both may hold NaN and infinity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["distances", "largest_finite"]


def distances(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
    """|found - expected| in float64, of equal shapes.

    0 where both are NaN or the same infinity, infinite where only one of them is NaN or infinite.
    """
    with np.errstate(invalid="ignore"):
        apart = np.abs(found - expected.astype(np.float64, copy=False))
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    apart = np.where(same, 0.0, apart)
    return np.where(np.isnan(apart), np.inf, apart)


def largest_finite(values: NDArray[Any]) -> float:
    """The largest absolute value that is neither NaN nor infinite; 0 without one."""
    return float(np.abs(values).max(where=np.isfinite(values), initial=0.0))
