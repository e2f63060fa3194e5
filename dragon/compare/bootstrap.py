"""Bootstrap intervals by resampling seeds."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from dragon.memory.storage import Array

__all__ = ["RESAMPLES", "bca_interval"]

RESAMPLES = 9999
_SEED = 20150211  # so that the same values give the same interval


def bca_interval(
    values: Array, statistic: Callable[[Array], Array], level: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Interval of a statistic by the bootstrap, bias-corrected and accelerated (BCa; Efron 1987).

    values: shape (seeds, quantities); whole rows are drawn, so quantities stay paired by seed. statistic: maps arrays
    (..., seeds, quantities) to (...); resamples for which it is not finite are left out. None when nothing is left or
    there are fewer than two seeds. The random numbers have a fixed seed: equal values give equal intervals.
    """
    count = len(values)
    if count < 2:
        return None
    rng = np.random.default_rng(_SEED)
    with np.errstate(all="ignore"):
        estimate = float(statistic(values))
        drawn = np.asarray(statistic(values[rng.integers(0, count, (resamples, count))]))
        left_out = np.array([statistic(np.delete(values, k, axis=0)) for k in range(count)])
    drawn = np.sort(drawn[np.isfinite(drawn)])
    if not len(drawn) or not np.isfinite(estimate):
        return None
    if drawn[0] == drawn[-1]:
        return float(drawn[0]), float(drawn[-1])
    normal = NormalDist()
    rounding = 1e-12 * (abs(estimate) + float(drawn[-1] - drawn[0]))  # sums in another order are equal all the same
    below = np.mean(drawn < estimate - rounding) + np.mean(np.abs(drawn - estimate) <= rounding) / 2
    bias = normal.inv_cdf(min(max(float(below), 1 / (len(drawn) + 1)), len(drawn) / (len(drawn) + 1)))
    acceleration = _acceleration(left_out)
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + normal.inv_cdf(share)
        corrected = normal.cdf(bias + shifted / max(1 - acceleration * shifted, 1e-9))
        ends.append(float(np.quantile(drawn, corrected)))
    return ends[0], ends[1]


def _acceleration(left_out: Array) -> float:
    """A sixth of the skewness of the statistic with one seed left out at a time, with the sign turned."""
    if not np.isfinite(left_out).all():
        return 0.0
    deviations = left_out.mean() - left_out
    spread = float((deviations**2).sum()) ** 1.5
    return float((deviations**3).sum()) / (6 * spread) if spread > 0 else 0.0
