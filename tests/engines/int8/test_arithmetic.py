"""Rounding to 8 bits: the nearest integer, limits, scales of outputs, and what a fold does not change."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.int8.arithmetic import Range, quantize, quantize_weights, rounded, rounded_weights

RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("of", "values", "integers"),
    [
        (Range(127.0, signed=True), [0.5, 1.5, -0.5, -1.5, 127, 200], [0, 2, 0, -2, 127, 127]),
        (Range(127.0, signed=True), [-127, -127.6, -500], [-127, -128, -128]),
        (Range(255.0, signed=False), [0.5, 1.5, 2.5, 254.6, 255, 999, -3], [0, 2, 2, 255, 255, 255, 0]),
        (Range(0.0, signed=True), [0, 1, -1], [0, 1, -1]),
    ],
)
def test_values_become_the_nearest_integers_and_saturate(of: Range, values: list[float], integers: list[int]) -> None:
    made = quantize(np.array(values, np.float32), of)
    assert made.dtype == (np.int8 if of.signed else np.uint8)
    assert made.tolist() == integers


@pytest.mark.parametrize("signed", [True, False])
def test_within_the_range_at_most_half_a_step_is_lost(signed: bool) -> None:
    of = Range(3.7, signed)
    values = RNG.uniform(-3.7 if signed else 0, 3.7, 10_000).astype(np.float32)
    assert np.abs(rounded(values, of) - values).max() <= of.scale * 0.50001
    assert of.scale == pytest.approx(3.7 / (127 if signed else 255))


@pytest.mark.parametrize("axis", [0, 1])
def test_each_output_of_the_weights_has_a_scale_of_its_own(axis: int) -> None:
    weights = RNG.standard_normal((5, 6)).astype(np.float32)
    if axis:
        weights *= np.float32(10.0) ** np.arange(6, dtype=np.float32)
    else:
        weights *= np.float32(10.0) ** np.arange(5, dtype=np.float32)[:, None]
    integers, scales = quantize_weights(weights, axis)
    assert (np.abs(integers).max(1 - axis) == 127).all()
    lost = np.abs(rounded_weights(weights, axis) - weights).max(1 - axis)
    assert (lost <= scales * 0.5001).all()


def test_an_output_without_weights_is_no_division_by_zero() -> None:
    integers, scales = quantize_weights(np.zeros((2, 3), np.float32), 0)
    assert not integers.any()
    assert scales.tolist() == [1, 1]


def test_what_is_not_finite_becomes_a_number() -> None:
    of = Range(2.0, signed=True)
    assert quantize(np.array([np.inf, -np.inf, 1e38], np.float32), of).tolist() == [127, -128, 127]
    nan = np.array([np.nan, -np.nan], np.float32)
    assert quantize(nan, of).tolist() == [127, 127]
    assert quantize(nan, Range(2.0, signed=False)).tolist() == [0, 0]


def test_a_weight_that_is_not_finite_makes_all_of_its_output_nan() -> None:
    weights = np.array([[1, np.inf], [np.nan, 1], [-np.inf, 0], [1e-44, 0]], np.float32)
    assert np.isnan(quantize_weights(weights, 0)[1]).tolist() == [True, True, True, False]
    left = rounded_weights(weights, 0)
    assert np.isnan(left[:3]).all()
    assert np.isfinite(left[3]).all()


@pytest.mark.parametrize("limit", [0.0, 1e-45, 1e-38, 0.9e-30, 1.1e-30, 1e-20, 3.3e38, float(np.finfo(np.float32).max)])
@pytest.mark.parametrize("signed", [True, False])
def test_no_limit_gives_infinities(limit: float, signed: bool) -> None:
    of = Range(limit, signed)
    values = np.array([0, limit, -limit, 1, -1, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan], np.float32)
    left = rounded(values, of)
    assert np.isfinite(left).all()
    if limit > 1e-30:
        assert left[1] == pytest.approx(limit, rel=0.02)


def test_factors_of_outputs_change_scales_and_no_integers() -> None:
    """So a net gives the same, whether its normalisations are folded into weights or not."""
    weights = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
    factors = np.array([0.001, -2, 30, -0.5], np.float32)  # exact products do not matter: no value is beside a tie
    plain, scales = quantize_weights(weights, 0)
    folded, others = quantize_weights(weights * factors.reshape(-1, 1, 1, 1), 0)
    np.testing.assert_array_equal(folded, plain * np.sign(factors).astype(np.int8).reshape(-1, 1, 1, 1))
    np.testing.assert_allclose(others, scales * np.abs(factors), rtol=1e-6)
