"""What a contrast is expected to show, such as "> 0", "<= 0.45", "within 0.01" or "within 0.02 of 1.467"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from dragon.compare.paired import Estimate
from dragon.errors import UsageError

__all__ = ["AGREES", "DISAGREES", "UNDECIDED", "Expectation", "parse_expectation"]

AGREES, DISAGREES, UNDECIDED = "agrees", "disagrees", "undecided"

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*%?)"
_BOUND = re.compile(rf"(>=|<=|>|<)\s*{_NUMBER}")
_WITHIN = re.compile(rf"within\s+{_NUMBER}(?:\s+of\s+{_NUMBER})?")


@dataclass(frozen=True)
class Expectation:
    """A range of values, whose ends belong to it if `closed`."""

    text: str
    low: float
    high: float
    closed: bool

    def met(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return self.low <= value <= self.high if self.closed else self.low < value < self.high

    def verdict(self, low: float, high: float) -> str:
        """AGREES if the whole interval low..high lies in the range, DISAGREES if none of it does, else UNDECIDED."""
        if self.met(low) and self.met(high):
            return AGREES
        apart = high < self.low or low > self.high
        touching = not self.closed and (high == self.low or low == self.high)
        return DISAGREES if apart or touching else UNDECIDED

    def p(self, found: Estimate) -> float | None:
        """Two-sided p-value at the end of the range; with two ends, that of the effect lying outside."""
        if math.isinf(self.low) or math.isinf(self.high):
            return found.p(self.high if math.isinf(self.low) else self.low)
        return found.p_outside(self.low, self.high)

    def distance(self, value: float) -> float:
        """Distance of a value to the nearest end of the range."""
        return min(abs(value - end) for end in (self.low, self.high))


def parse_expectation(text: str, neutral: float = 0.0) -> Expectation:
    """Read an expectation; neutral: the middle of `within X` without `of`. Raises UsageError."""
    words = str(text).strip()
    bound = _BOUND.fullmatch(words)
    if bound and math.isfinite(value := _number(bound[2])):
        low, high = (value, math.inf) if bound[1].startswith(">") else (-math.inf, value)
        return Expectation(words, low, high, bound[1].endswith("="))
    if within := _WITHIN.fullmatch(words):
        half, middle = _number(within[1]), _number(within[2]) if within[2] else neutral
        if half > 0 and math.isfinite(half) and math.isfinite(middle):
            return Expectation(words, middle - half, middle + half, True)
    raise UsageError(f'"expect" is such as "> 0", "<= 0.45", "within 0.01" or "within 0.02 of 1.467", got "{words}"')


def _number(text: str) -> float:
    value = float(text.rstrip("% "))
    return value / 100 if text.endswith("%") else value
