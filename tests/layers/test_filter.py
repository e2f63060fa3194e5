from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(3).standard_normal((4, 2, 3))
Y = np.random.default_rng(4).standard_normal((4, 2))


def test_value() -> None:
    one = One('type: "Filter"', X, Y, [1, 0, 0, -2], n_top=2)
    assert one.top[0].shape == (4, 2, 3)  # nothing is known yet
    one.forward()
    np.testing.assert_allclose(one.top[0].data, X[[0, 3]], rtol=1e-6)
    np.testing.assert_allclose(one.top[1].data, Y[[0, 3]], rtol=1e-6)


def test_gradient() -> None:
    one = One('type: "Filter"', X, [0, 1, 1, 0])
    one.forward()
    diff = np.arange(12.0).reshape(2, 2, 3)
    expected = np.zeros_like(X)
    expected[1:3] = diff
    np.testing.assert_array_equal(one.backward(diff), expected)
    check_gradient('type: "Filter"', [X, np.ones(4)])


def test_none_chosen_then_some() -> None:
    one = One('type: "Filter"', X, np.zeros(4))
    assert one.forward().shape == (0, 2, 3)
    assert not one.backward(np.zeros((0, 2, 3))).any()
    assert one.forward(X, [0, 0, 1, 0]).shape == (1, 2, 3)


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="expected 1, got 2"):
        One('type: "Filter"', X, np.ones(4), n_top=2)
    with pytest.raises(ShapeError, match="one value per item"):
        One('type: "Filter"', X, np.ones((4, 2)))
    with pytest.raises(ShapeError, match="bottom 0 must have 3 items"):
        One('type: "Filter"', X, np.ones(3))
    one = One('type: "Filter"', X, np.ones(4))
    one.forward()
    with pytest.raises(PrototxtError, match="the selector has no gradient"):
        one.backward(X, propagate_down=[True, True])
