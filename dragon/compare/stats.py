"""Means and intervals over seeds, and for how long two curves agree."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dragon.compare.students_t import t_quantile

__all__ = ["TOLERANCES", "Interval", "coincide", "interval", "median_ratio", "smooth", "t_critical"]

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


def t_critical(degrees: int) -> float:
    """Half-width of a 95 % t-interval in standard errors, to the three decimals of printed tables."""
    return round(t_quantile(0.975, degrees), 3)


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % t-interval of three values or more; of two, smallest to largest; of one, the value."""
    n = len(values)
    mean = statistics.fmean(values)
    if n == 1:
        return Interval(mean, mean, mean, n, "one seed")
    if n == 2:
        return Interval(mean, min(values), max(values), n, "smallest to largest")
    half = t_critical(n - 1) * statistics.stdev(values) / math.sqrt(n)
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
