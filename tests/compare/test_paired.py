"""Estimates over seeds: intervals, p-values and numbers of seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.compare.bootstrap import bca_interval
from dragon.compare.paired import estimate, seeds_to_see
from dragon.compare.students_t import t_quantile
from dragon.errors import UsageError

A = [0.75, 0.74, 0.77, 0.745, 0.752]
B = [0.69, 0.69, 0.70, 0.685, 0.68]


def test_paired_difference_by_hand() -> None:
    found = estimate(A, B)
    assert found.values == pytest.approx([0.06, 0.05, 0.07, 0.06, 0.072])
    assert found.mean == pytest.approx(0.0624)
    sd = math.sqrt(sum((v - 0.0624) ** 2 for v in (0.06, 0.05, 0.07, 0.06, 0.072)) / 4)
    assert found.t is not None
    assert found.t == pytest.approx((0.0624 - 2.776 * sd / 5**0.5, 0.0624 + 2.776 * sd / 5**0.5))
    for end in found.t:
        assert found.p(end) == pytest.approx(0.05, abs=1e-4)
    assert found.p(0.0624) == pytest.approx(1)
    assert found.bootstrap is not None
    assert 0.05 <= found.bootstrap[0] < 0.0624 < found.bootstrap[1] <= 0.072


def test_pairing_takes_out_what_seeds_share() -> None:
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 1, 8)
    a, b = seeds + 0.1 + rng.normal(0, 0.01, 8), seeds + rng.normal(0, 0.01, 8)
    found = estimate(list(a), list(b))
    assert found.t is not None
    assert found.t[0] > 0.08


def test_ratio_is_that_of_logarithms() -> None:
    found = estimate([10, 20, 40], [1, 2, 4.0], "ratio")
    assert found.mean == pytest.approx(10)
    assert found.t == pytest.approx((10, 10))
    assert (found.p(10), found.p(9)) == (1.0, 0.0)
    spread = estimate([8, 2], [1, 1], "ratio")
    assert spread.mean == pytest.approx(4), "the geometric mean"
    half = 12.706 * math.log(4) / 2**0.5 / 2**0.5
    assert spread.t == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)), rel=1e-3)
    with pytest.raises(UsageError, match="positive values, got 0"):
        estimate([1, 0], [1, 1], "ratio")


def test_spread_over_seeds_has_the_interval_of_pitman_and_morgan() -> None:
    rng = np.random.default_rng(3)
    a, b = 3 * rng.normal(size=20), rng.normal(size=20)
    found = estimate(list(a), list(b), "sd_ratio")
    assert found.mean == pytest.approx(a.std(ddof=1) / b.std(ddof=1))
    assert found.t is not None
    assert found.bootstrap is not None
    for low, high in (found.t, found.bootstrap):
        assert 1 < low < found.mean < high < 7
    for end in found.t:
        assert found.p(end) == pytest.approx(0.05, abs=1e-4)
    assert found.p(found.mean) == pytest.approx(1)
    for wrong in (([1.0], [2.0]), ([1.0, 2.0], [3.0, 3.0])):
        with pytest.raises(UsageError, match="spread"):
            estimate(*wrong, "sd_ratio")


def test_intervals_cover_as_often_as_they_say() -> None:
    """400 experiments of 8 seeds: between 92 and 98 % of the t intervals hold the truth; those of spreads too."""
    rng = np.random.default_rng(1)
    held = {"difference": 0, "sd_ratio": 0}
    for _ in range(400):
        common = rng.normal(size=8)
        a, b = 2 * (common + rng.normal(size=8)) + 0.5, common + rng.normal(size=8)
        for scale, truth in (("difference", 0.5), ("sd_ratio", 2.0)):
            p = _p(list(a), list(b), scale, truth)
            held[scale] += p > 0.05
    assert all(0.92 < count / 400 < 0.98 for count in held.values()), held


def _p(a: list[float], b: list[float], scale: str, truth: float) -> float:
    import dragon.compare.paired as paired

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "bca_interval", lambda *_: None)  # slow, and not needed here
        p = estimate(a, b, scale).p(truth)
    assert p is not None
    return p


def test_bootstrap_is_repeatable_and_follows_the_skew() -> None:
    values = np.array([0.0, 0.1, 0.2, 0.1, 0.05, 0.15, 0.1, 2.0])[:, None]

    def mean(drawn: np.ndarray) -> np.ndarray:
        return np.asarray(drawn[..., 0].mean(axis=-1))

    first = bca_interval(values, mean)
    assert first == bca_interval(values, mean)
    assert first is not None
    low, high = first
    centre = values.mean()
    assert high - centre > 1.5 * (centre - low), "towards the long tail"
    normal = np.random.default_rng(5).normal(3, 1, (200, 1))
    found = bca_interval(normal, mean)
    half = 1.96 * normal.std(ddof=1) / 200**0.5
    assert found == pytest.approx((normal.mean() - half, normal.mean() + half), abs=0.02)
    assert bca_interval(np.ones((5, 1)), mean) == (1.0, 1.0)
    assert bca_interval(values[:1], mean) is None


def test_one_and_two_seeds() -> None:
    one = estimate([0.7], [0.6])
    assert (one.t, one.bootstrap, one.p(0)) == (None, None, None)
    two = estimate([0.7, 0.8], [0.6, 0.6])
    assert two.t is not None
    assert two.t[0] < 0 < two.t[1], "12.7 standard errors"


def test_number_of_seeds() -> None:
    """Standard deviations of 1.5 with a correlation of .5: differences have one of 1.5."""
    assert seeds_to_see(1.5, 1.5, 1.5, 0.5) == seeds_to_see(1.5, 1.5) == 10  # (2.262 + .883) / 10**.5 < 1
    assert seeds_to_see(1.5, 1.5, 1.5, 0.0) == 18  # (2.110 + .863) * 2**.5 / 18**.5 = .991
    assert seeds_to_see(0.1, 0.0) == 3
    assert seeds_to_see(0.1, 1.5) == pytest.approx(((1.96 + 0.8416) * 15) ** 2, rel=0.01)
    assert seeds_to_see(0.0, 1.0) == 100_000


@pytest.mark.parametrize("difference", [0.3, 0.5, 0.7, 1.0, 1.3, 2.0, 3.0])
def test_the_number_of_seeds_has_its_power(difference: float) -> None:
    """By the noncentral t distribution, integrated over the standard deviation that a sample has."""

    def power(n: int) -> float:
        k = n - 1
        s = np.linspace(1e-6, 1 + 9 / math.sqrt(k), 4001)  # of the sample, in true standard deviations
        log_density = (k - 1) * np.log(s) - k * s * s / 2 + math.log(2) + k / 2 * math.log(k / 2) - math.lgamma(k / 2)
        t = t_quantile(0.975, k) * s
        shift = difference * math.sqrt(n)
        beyond = [0.5 * (math.erfc((x - shift) / 2**0.5) + math.erfc((x + shift) / 2**0.5)) for x in t.tolist()]
        return float((np.array(beyond) * np.exp(log_density)).sum() * (s[1] - s[0]))

    n = seeds_to_see(difference, 1.0)
    assert power(n) >= 0.8
    assert n == 3 or power(n - 1) < 0.8


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([], []), "no seed with a value"),
        (([1.0], None, "ratio"), "two sides"),
        (([1.0], [1.0], "ratios"), r'unknown scale "ratios" \(did you mean "ratio"'),
    ],
)
def test_what_has_no_estimate(args: tuple, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UsageError, match=message):
        estimate(*args)


def test_values_that_are_equal_but_for_float32_differ_in_nothing() -> None:
    chance = float(np.float32(0.1))
    found = estimate([chance] * 3, [0.1] * 3)
    assert (found.mean, found.t, found.p(0)) == (0, (0, 0), 1)
    assert estimate([chance] * 3, [0.1] * 3, "ratio").t == (1, 1)
    with pytest.raises(UsageError, match="differ from seed to seed"):
        estimate([0.2, 0.3, 0.4], [0.1, chance, 0.1], "sd_ratio")


@pytest.mark.parametrize("size", [1e30, 1e99])
def test_ratios_that_have_nothing_in_common_have_a_finite_interval(size: float) -> None:
    """Such as those of two rates of which a grid goes from very small to very large ones."""
    found = estimate([size, 1 / size, size], [1 / size, size, size], "ratio")
    assert found.t is not None
    assert 0 <= found.t[0] < 1e-90
    assert 1e90 < found.t[1] < 1e300
    assert math.isfinite(estimate([size, -size, size / 2], None).t[1])  # type: ignore[index]
