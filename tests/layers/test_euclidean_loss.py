from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(1)
A, B = RNG.standard_normal((2, 4, 3))


def test_value() -> None:
    expected = sum((a - b) ** 2 for a, b in zip(A.ravel(), B.ravel(), strict=True)) / 8
    assert float(One('type: "EuclideanLoss"', A, B).forward()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1)])
def test_gradient_of_both(shape: tuple[int, ...]) -> None:
    assert check_gradient('type: "EuclideanLoss"', [A, B.reshape(shape)]) == 24


def test_shapes() -> None:
    with pytest.raises(ShapeError, match=r"as many items as bottom 0: expected \(4,\), got \(3,\)"):
        One('type: "EuclideanLoss"', A, A[:3])
    with pytest.raises(ShapeError, match=r"as many values per item: expected \(4, 3\), got \(4, 2\)"):
        One('type: "EuclideanLoss"', A, A[:, :2])
