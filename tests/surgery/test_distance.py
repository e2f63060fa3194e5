"""Distances of values among which are NaN and infinity."""

from __future__ import annotations

import numpy as np

from dragon.surgery.distance import distances, largest_finite

NAN, INF = float("nan"), float("inf")


def test_distances() -> None:
    found = np.array([1.0, NAN, INF, -INF, NAN, 2.0, INF])
    expected = np.array([1.5, NAN, INF, -INF, 0.0, INF, -INF])
    np.testing.assert_array_equal(distances(found, expected), [0.5, 0, 0, 0, INF, INF, INF])


def test_distances_are_of_float64() -> None:
    found = distances(np.array([1 + 2**-23], np.float32), np.array([1], np.float32))
    assert found.dtype == np.float64
    assert found[0] == 2**-23


def test_the_largest_finite_value() -> None:
    assert largest_finite(np.array([NAN, -3.0, INF])) == 3
    assert largest_finite(np.array([NAN])) == 0
    assert largest_finite(np.zeros(0)) == 0
