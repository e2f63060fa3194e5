"""Mish at values large and small, where exp would overflow or the sum would lose its digits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {"Mish": [(), ("", ((3, 5),))]}
X = np.random.default_rng(1).standard_normal((2, 3, 4)) * 4


@pytest.mark.parametrize("in_place", [False, True])
def test_values(in_place: bool) -> None:
    expected = [x * math.tanh(math.log1p(math.exp(x))) for x in X.ravel()]
    y = One('type: "Mish"', X, in_place=in_place, dtype=np.float64).forward()
    np.testing.assert_allclose(y.ravel(), expected, rtol=1e-12, atol=0)
    check_gradient('type: "Mish"', [X], in_place=in_place)


def test_far_from_zero() -> None:
    one = One('type: "Mish"', [-200.0, -80.0, 0.0, 80.0, 1e30])
    np.testing.assert_allclose(one.forward(), [0, -80 * math.exp(-80), 0, 80, 1e30], rtol=1e-5, atol=1e-38)
    np.testing.assert_allclose(one.backward(np.ones(5)), [0, -79 * math.exp(-80), 0.6, 1, 1], rtol=1e-5, atol=1e-37)


def test_the_same_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.mish(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(One('type: "Mish"', X, dtype=np.float64).forward(), expected, rtol=1e-12)
