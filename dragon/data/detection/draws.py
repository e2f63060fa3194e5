"""Random numbers for one image, made from words of the counter-based generator: the same on every NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draws"]


class Draws:
    """Draws numbers one after another from `bits`, a generator of 64-bit words."""

    def __init__(self, bits: np.random.Philox) -> None:
        self._bits = bits

    def many(self, count: int) -> NDArray[np.float64]:
        """`count` numbers, evenly from [0, 1)."""
        words: NDArray[np.uint64] = self._bits.random_raw(count)
        evenly: NDArray[np.float64] = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return evenly

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number, evenly from [low, high)."""
        return low + float(self.many(1)[0]) * (high - low)

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return int(self._bits.random_raw()) % count

    def order(self, count: int) -> list[int]:
        """A permutation of the numbers below `count`."""
        return [int(i) for i in np.argsort(self.many(count), kind="stable")]
