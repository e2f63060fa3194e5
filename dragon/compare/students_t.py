"""Student's t distribution: probabilities and quantiles for any number of degrees of freedom."""

from __future__ import annotations

import math
from functools import lru_cache

__all__ = ["incomplete_beta", "t_quantile", "two_sided_p"]

_TINY = 1e-300
_MAX_TERMS = 10_000


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b) for a, b > 0 and 0 <= x <= 1.

    Continued fraction 26.5.8 of Abramowitz and Stegun, evaluated from the front (Lentz's method).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast below this value
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or _TINY)
            c = 1 + term / c or _TINY
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def two_sided_p(t: float, degrees: float) -> float:
    """Probability of a value of at least |t| in size, on either side; 0 for an infinite t."""
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) if math.isfinite(t) else 0.0


@lru_cache(maxsize=1000)
def t_quantile(probability: float, degrees: float) -> float:
    """The value below which a share `probability` of the distribution lies, 0.5 <= probability < 1."""
    tail = 2 * (1 - probability)
    low, high = 0.0, 1.0
    while two_sided_p(high, degrees) > tail:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if two_sided_p(middle, degrees) > tail else (low, middle)
    return (low + high) / 2
