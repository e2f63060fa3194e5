"""How figures spread: the times of several runs, and the interval of a share of right answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Spread", "wilson_interval"]

_Z = 1.959963984540054  # a normal variable lies within this many standard deviations in 95 % of cases


@dataclass(frozen=True)
class Spread:
    """Mean, median, least and 90th percentile of several times in milliseconds."""

    mean: float
    median: float
    min: float
    p90: float

    @classmethod
    def of(cls, times: Sequence[float]) -> Spread:
        """Those of one or more times."""
        median, p90 = np.percentile(times, (50, 90))
        return cls(sum(times) / len(times), float(median), min(times), float(p90))


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share that was seen in `count` independent cases (Wilson 1927, without continuity)."""
    middle = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    scale = 1 + _Z**2 / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
