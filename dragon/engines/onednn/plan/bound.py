"""Bound: a bound of the elements of a top, computed in each run before its layer, cheaper than a check of the top.

A convolution of finite numbers is finite unless it overflows. So a bound of its bottom and the norms of its weights
show that its top has no NaN and no infinity, and a ReLU or a maximum pooling after it need not check for them.
"""

from __future__ import annotations

import math

__all__ = ["Bound"]

LARGEST = 1e30  # far enough below the largest float32, 3e38, for what is added up on the way


class Bound:
    """A bound of one value. largest: of the magnitudes in the present run; infinite or NaN where not known."""

    __slots__ = ("largest",)

    def __init__(self) -> None:
        self.largest = math.inf

    def holds(self) -> bool:
        """Whether the bound shows that all elements are finite."""
        return self.largest < LARGEST  # false for NaN
