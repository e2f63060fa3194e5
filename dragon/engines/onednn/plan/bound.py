"""Bounds of what layers make, known in each run before the layer has run and cheaper than a look at all of it.

A convolution of finite numbers is finite unless it overflows. So a bound of its bottom and the norms of its weights
tell that no NaN and no infinity is in its top, and a ReLU or a maximum pooling behind it needs no further care.
"""

from __future__ import annotations

import math

__all__ = ["Bound"]

LARGEST = 1e30  # far enough below the largest float32, 3e38, for what is added up on the way


class Bound:
    """largest: no element of a value is larger in magnitude in the present run; infinite or NaN where not known."""

    __slots__ = ("largest",)

    def __init__(self) -> None:
        self.largest = math.inf

    def holds(self) -> bool:
        """Whether all elements are finite, as far as the bound can tell."""
        return self.largest < LARGEST  # false for NaN
