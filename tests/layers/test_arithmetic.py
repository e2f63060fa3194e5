"""Add, Mul and Axpy."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(1)
X = RNG.standard_normal((2, 3, 2, 2))


@pytest.mark.parametrize("shapes", [[(2, 3, 2, 2)], [(1, 3, 1, 1)], [(2, 2), (3, 1, 1)], [()]])
@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_value_and_gradient(kind: str, shapes: list[tuple[int, ...]]) -> None:
    others = [RNG.standard_normal(shape) for shape in shapes]
    expected = X
    for other in others:
        expected = expected + other if kind == "Add" else expected * other
    np.testing.assert_allclose(One(f'type: "{kind}"', X, *others, dtype=np.float64).forward(), expected)
    check_gradient(f'type: "{kind}"', [X, *others])


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1)])
def test_axpy(shape: tuple[int, ...]) -> None:
    a, y = RNG.standard_normal(shape), RNG.standard_normal(X.shape)
    result = One('type: "Axpy"', a, X, y).forward()
    for n, c in np.ndindex(2, 3):
        np.testing.assert_allclose(result[n, c], a[n, c] * X[n, c] + y[n, c], rtol=1e-5, atol=1e-6)
    check_gradient('type: "Axpy"', [a, X, y])


def test_shapes() -> None:
    with pytest.raises(ShapeError, match=r"bottom 1 of shape \(2,\) does not fit bottom 0 of shape \(2, 3\)"):
        One('type: "Add"', X[:, :, 0, 0], np.ones(2))
    with pytest.raises(ShapeError, match=r"one value per channel: expected shape \(2, 3\), got \(2, 3, 2\)"):
        One('type: "Axpy"', np.ones((2, 3, 2)), X, X)
    with pytest.raises(ShapeError, match="must have one shape"):
        One('type: "Axpy"', np.ones((2, 3)), X, X[:1])
