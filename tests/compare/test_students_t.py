"""The distribution against printed tables."""

from __future__ import annotations

import math

import pytest

from dragon.compare.stats import interval, t_critical
from dragon.compare.students_t import incomplete_beta, t_quantile, two_sided_p

# quantiles .95, .975, .995 of printed tables, by degrees of freedom
TABLE = {
    1: (6.314, 12.706, 63.657), 2: (2.920, 4.303, 9.925), 3: (2.353, 3.182, 5.841), 4: (2.132, 2.776, 4.604),
    5: (2.015, 2.571, 4.032), 8: (1.860, 2.306, 3.355), 10: (1.812, 2.228, 3.169), 15: (1.753, 2.131, 2.947),
    20: (1.725, 2.086, 2.845), 30: (1.697, 2.042, 2.750), 40: (1.684, 2.021, 2.704), 60: (1.671, 2.000, 2.660),
    120: (1.658, 1.980, 2.617),
}  # fmt: skip


@pytest.mark.parametrize("degrees", TABLE)
def test_quantiles_are_those_of_the_table(degrees: int) -> None:
    for probability, expected in zip((0.95, 0.975, 0.995), TABLE[degrees], strict=True):
        assert t_quantile(probability, degrees) == pytest.approx(expected, abs=6e-4)
        assert two_sided_p(t_quantile(probability, degrees), degrees) == pytest.approx(2 - 2 * probability, rel=1e-9)


def test_beta_function_of_cases_with_a_formula() -> None:
    for x in (0.0, 1e-9, 0.2, 0.5, 0.9, 1.0):
        assert incomplete_beta(1, 1, x) == pytest.approx(x)
        assert incomplete_beta(3, 1, x) == pytest.approx(x**3)
        assert incomplete_beta(2, 2, x) == pytest.approx(3 * x**2 - 2 * x**3, abs=1e-15)
        assert incomplete_beta(0.5, 0.5, x) == pytest.approx(2 / math.pi * math.asin(math.sqrt(x)))


def test_p_values_with_a_formula() -> None:
    for t in (0.0, 0.3, 1.0, 5.0, 1e6):
        assert two_sided_p(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-13)
        assert two_sided_p(-t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-13)
    assert two_sided_p(math.inf, 4) == 0
    assert two_sided_p(1.959964, 1e7) == pytest.approx(0.05, abs=1e-6)


def test_intervals_of_many_seeds_are_not_those_of_the_normal_distribution() -> None:
    """The table that stood here ended at 30 degrees of freedom and went on with 1.96."""
    assert t_critical(31) == 2.040
    values = [0.0, 1.0] * 20
    assert interval(values).half == pytest.approx(2.023 * (10 / 39 / 40) ** 0.5)
