from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(2).standard_normal((2, 5, 3))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_value(axis: int) -> None:
    y = One(f'type: "Softmax" softmax_param {{ axis: {axis} }}', X).forward()
    for line, given in zip(
        np.moveaxis(y, axis, -1).reshape(-1, X.shape[axis]),
        np.moveaxis(X, axis, -1).reshape(-1, X.shape[axis]),
        strict=True,
    ):
        expected = [np.exp(v) / sum(np.exp(u) for u in given) for v in given]
        np.testing.assert_allclose(line, expected, rtol=1e-5)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gradient(axis: int, in_place: bool) -> None:
    check_gradient(f'type: "Softmax" softmax_param {{ axis: {axis} }}', [X], in_place=in_place)


def test_large_values_do_not_overflow() -> None:
    np.testing.assert_array_equal(One('type: "Softmax"', [[1000.0, 1000.0, -1000.0]]).forward(), [[0.5, 0.5, 0]])


def test_axis_out_of_range() -> None:
    with pytest.raises(ShapeError, match="axis 3 is out of range for a bottom with 3 axes"):
        One('type: "Softmax" softmax_param { axis: 3 }', X)
