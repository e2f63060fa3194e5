"""Insanity: where its slopes lie, that they stay for backward, and what TEST uses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {"Insanity": [(), ("insanity_param { lb: 2 ub: 4 }",)]}
ARRAY_CODE = {"Insanity": "its random slopes have no kernels"}
X = np.random.default_rng(1).standard_normal((50, 40))


@pytest.mark.parametrize("in_place", [False, True])
def test_train(in_place: bool) -> None:
    text = 'type: "Insanity" insanity_param { lb: 2 ub: 4 }'
    one = One(text, X, in_place=in_place, dtype=np.float64)
    y = one.forward().copy()
    below = X <= 0
    np.testing.assert_array_equal(y[~below], X[~below])
    divisors = (X / y)[below]
    assert divisors.min() >= 2
    assert divisors.max() <= 4
    assert divisors.mean() == pytest.approx(3, abs=0.1)
    assert divisors.std() == pytest.approx(2 / math.sqrt(12), abs=0.05)
    np.testing.assert_allclose(one.backward(np.ones_like(X))[below], 1 / divisors, rtol=1e-9)
    again = One(text, X, in_place=in_place, dtype=np.float64)
    np.testing.assert_array_equal(again.forward(), y)  # the same draw
    assert (again.forward(X) != y).any()  # the next one
    check_gradient(text, [X[:5, :6]], in_place=in_place)


def test_test_uses_the_mean_of_the_slopes() -> None:
    text = 'type: "Insanity" insanity_param { lb: 2 ub: 4 }'
    draws = np.random.default_rng(2).uniform(2, 4, 200_000)
    y = One(text, [-1.0, 1.0], phase=TEST).forward()
    np.testing.assert_allclose(y, [-(1 / draws).mean(), 1], rtol=1e-3)
    assert float(y[0]) == pytest.approx(-math.log(2) / 2, rel=1e-6)
    check_gradient(text, [X[:5, :6]], phase=TEST)


def test_messages() -> None:
    for settings, found in (("lb: 4 ub: 2", "4 and 2"), ("lb: -1 ub: 2", "-1 and 2"), ("lb: 3 ub: 3", "3 and 3")):
        with pytest.raises(PrototxtError, match=f"needs 0 < lb < ub, got {found}"):
            One(f'type: "Insanity" insanity_param {{ {settings} }}', X)
