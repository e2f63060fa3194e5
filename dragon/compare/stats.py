"""Means and intervals over seeds, and for how long two curves agree."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TOLERANCES", "Interval", "coincide", "interval", "median_ratio", "smooth"]

# 97.5 % quantiles of Student's t for 2, 3, ... degrees of freedom
_T = (
    4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110,
    2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_T_FROM = 2
TOLERANCES = (1e-6, 1e-4, 1e-2)


@dataclass(frozen=True)
class Interval:
    """A mean with the range around it; `kind` says what the range is."""

    mean: float
    low: float
    high: float
    n: int
    kind: str  # "95 % t-interval", "smallest to largest" or "one seed"

    @property
    def half(self) -> float:
        """Half of the width."""
        return (self.high - self.low) / 2


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % t-interval of three values or more; of two, smallest to largest; of one, the value."""
    n = len(values)
    mean = statistics.fmean(values)
    if n == 1:
        return Interval(mean, mean, mean, n, "one seed")
    if n == 2:
        return Interval(mean, min(values), max(values), n, "smallest to largest")
    t = _T[n - 1 - _T_FROM] if n - 1 - _T_FROM < len(_T) else 1.96
    half = t * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, "95 % t-interval")


def coincide(a: Sequence[float], b: Sequence[float], tolerance: float) -> int:
    """Number of leading values for which |a - b| <= tolerance * max(1, |a|)."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if not abs(x - y) <= tolerance * max(1.0, abs(x)):
            return i
    return min(len(a), len(b))


def median_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Median of b / a over pairs that were measured one after the other."""
    return statistics.median(y / x for x, y in zip(a, b, strict=True))


def smooth(values: Sequence[float], points: int) -> list[tuple[float, float]]:
    """At most `points` means of neighbouring values, each with its middle position counted from 1."""
    width = max(1, math.ceil(len(values) / points))
    parts = [(i, values[i : i + width]) for i in range(0, len(values), width)]
    return [(i + (len(part) + 1) / 2, statistics.fmean(part)) for i, part in parts]
