"""What two sides of a comparison differ by, paired over seeds, with intervals and p-values.

Scales: "difference" (a - b, or a alone when there is no b), "ratio" (a / b, computed with logarithms) and "sd_ratio"
(the standard deviation of a over seeds, divided by that of b).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dragon.compare.bootstrap import bca_interval
from dragon.compare.stats import t_critical
from dragon.compare.students_t import t_quantile, two_sided_p
from dragon.errors import UsageError, nearest
from dragon.memory.storage import Array

__all__ = ["NEUTRAL", "POWER", "SCALES", "Estimate", "check_scale", "estimate", "seeds_to_see"]

NEUTRAL = {"difference": 0.0, "ratio": 1.0, "sd_ratio": 1.0}  # what a scale gives for two equal sides
SCALES = tuple(NEUTRAL)
POWER = 0.8  # share of repetitions in which as many seeds as a report names decide
_MOST_SEEDS = 100_000
_MOST_LOG = 690.0  # of a ratio of about 1e299
_EQUAL = 1.2e-7  # values that differ by less of themselves are equal: nets compute in float32

Range = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """An effect over `n` seeds: its mean (geometric for ratios), 95 % intervals and the values for each seed.

    t: from Student's t; for "sd_ratio" from the test of Pitman and Morgan. None with too few seeds. bootstrap: BCa.
    sd: standard deviation of the values over seeds, of their logarithms for "ratio"; None for one seed.
    """

    scale: str
    values: tuple[float, ...]
    mean: float
    t: Range | None
    bootstrap: Range | None
    n: int
    sd: float | None
    pairs: tuple[Sequence[float], Sequence[float]] | None = None  # of "sd_ratio"

    def p(self, value: float) -> float | None:
        """Two-sided p-value of the hypothesis that the effect is `value`; None with too few seeds."""
        if self.t is None:
            return None
        if self.pairs is not None:
            return _pitman_morgan(np.array(self.pairs[0]), np.array(self.pairs[1]), value)
        if self.scale == "ratio" and value <= 0:
            return 0.0
        shift = math.log(self.mean) - math.log(value) if self.scale == "ratio" else self.mean - value
        if not self.sd:
            return float(abs(shift) <= 1e-12 * max(abs(self.mean), abs(value)))
        return two_sided_p(shift / (self.sd / math.sqrt(self.n)), self.n - 1)

    def p_outside(self, low: float, high: float) -> float | None:
        """p-value of the hypothesis that the effect lies outside low..high: two one-sided tests.

        It is doubled, so that it is below 0.05 exactly when the 95 % interval lies inside.
        """
        sides = [(self.p(edge), inside) for edge, inside in ((low, self.mean > low), (high, self.mean < high))]
        ps = [(p if inside else 2 - p) for p, inside in sides if p is not None]
        return min(1.0, max(ps)) if ps else None


def check_scale(scale: str) -> None:
    """Raise UsageError for a scale that does not exist."""
    if scale not in SCALES:
        raise UsageError(f'unknown scale "{scale}"{nearest(scale, SCALES)}; known: {", ".join(SCALES)}')


def estimate(a: Sequence[float], b: Sequence[float] | None, scale: str = "difference") -> Estimate:
    """The effect of `a` against `b`, equal places being equal seeds. b None: of the values themselves.

    Raises UsageError for what a scale cannot express: a ratio of values that are not positive, a spread that is zero
    or of fewer than two seeds.
    """
    check_scale(scale)
    if not a:
        raise UsageError("there is no seed with a value on both sides")
    if scale != "difference" and b is None:
        raise UsageError(f'scale "{scale}" needs two sides')
    if scale == "sd_ratio":
        assert b is not None
        return _sd_ratio(a, b)
    if scale == "difference":
        return _mean_of(a if b is None else [_minus(x, y) for x, y in zip(a, b, strict=True)])
    assert b is not None
    if min(*a, *b) <= 0:
        raise UsageError(f"a ratio needs positive values, got {min(*a, *b):g}")
    logs = _mean_of([_minus(x, y) and math.log(x) - math.log(y) for x, y in zip(a, b, strict=True)])
    ends = [r and (_exp(r[0]), _exp(r[1])) for r in (logs.t, logs.bootstrap)]
    ratios = tuple(_exp(v) for v in logs.values)
    return Estimate(scale, ratios, _exp(logs.mean), ends[0], ends[1], logs.n, logs.sd)


def _exp(value: float) -> float:
    """The exponential, at most that of _MOST_LOG: the interval of a few very different ratios has no end else."""
    return math.exp(min(value, _MOST_LOG))


def _minus(x: float, y: float) -> float:
    return 0.0 if abs(x - y) <= _EQUAL * max(abs(x), abs(y)) else x - y


def _mean_of(values: Sequence[float]) -> Estimate:
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return Estimate("difference", tuple(values), mean, None, None, n, None)
    sd = statistics.stdev(values)
    if sd <= 1e-12 * max(map(abs, values)):  # equal but for rounding
        sd = 0.0
    half = t_critical(n - 1) * sd / math.sqrt(n)
    bootstrap = bca_interval(np.array(values)[:, None], lambda drawn: drawn[..., 0].mean(axis=-1))
    return Estimate("difference", tuple(values), mean, (mean - half, mean + half), bootstrap, n, sd)


# -- spread over seeds ---------------------------------------------------------------------------------------
def _sd_ratio(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Interval of Pitman and Morgan (1939): exact for normal values of any correlation between the sides."""
    n = len(a)
    if n < 2:
        raise UsageError("a spread over seeds needs at least two of them")
    first, second = statistics.stdev(a), statistics.stdev(b)
    if first <= _EQUAL * max(map(abs, a)) or second <= _EQUAL * max(map(abs, b)):
        raise UsageError("a ratio of spreads needs values that differ from seed to seed on both sides")
    ratio = first / second
    interval = None
    if n > 2:
        r = _correlation(np.array(a), np.array(b))
        k = 1 + 2 * (1 - r * r) * t_critical(n - 2) ** 2 / (n - 2)
        widest = math.sqrt(k + math.sqrt(k * k - 1))
        interval = (ratio / widest, ratio * widest)
    both = np.array([a, b]).T
    bootstrap = bca_interval(both, lambda d: d[..., 0].std(axis=-1, ddof=1) / d[..., 1].std(axis=-1, ddof=1))
    return Estimate("sd_ratio", (), ratio, interval, bootstrap, n, None, (tuple(a), tuple(b)))


def _pitman_morgan(a: Array, b: Array, ratio: float) -> float:
    """p-value of sd(a) = ratio * sd(b): then a + ratio * b and a - ratio * b are uncorrelated."""
    if ratio <= 0:
        return 0.0
    r = _correlation(a + ratio * b, a - ratio * b)
    degrees = len(a) - 2
    return two_sided_p(r * math.sqrt(degrees / (1 - r * r)) if abs(r) < 1 else math.inf, degrees)


def _correlation(a: Array, b: Array) -> float:
    x, y = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return max(-1.0, min(1.0, float((x * y).sum()) / scale)) if scale else 0.0


# -- how many seeds ------------------------------------------------------------------------------------------
def seeds_to_see(
    difference: float, sd: float, sd_against: float = 0.0, correlation: float = 0.0, power: float = POWER
) -> int:
    """Seeds with which a true `difference` leaves zero outside the 95 % interval in a share `power` of cases.

    sd: standard deviation of the paired differences; or of one side, with that of the other and their correlation over
    seeds. The smallest n, at least 3, with n >= ((t_.975 + t_power) sd / difference)^2, both quantiles with n - 1
    degrees of freedom (NIST/SEMATECH e-Handbook of Statistical Methods, 7.2.2.2). This approximates the power by the
    noncentral t distribution; the tests compare the two.
    """
    spread = math.sqrt(max(0.0, sd * sd + sd_against * sd_against - 2 * correlation * sd * sd_against))
    if difference <= 0:
        return _MOST_SEEDS

    def enough(n: int) -> bool:
        return (t_critical(n - 1) + t_quantile(power, n - 1)) * spread / math.sqrt(n) <= difference

    low, high = 2, 3
    while not enough(high):
        if high >= _MOST_SEEDS:
            return _MOST_SEEDS
        low, high = high, min(2 * high, _MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
