from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(3).standard_normal((2, 3, 4))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("coeff", [1, -0.5])
@pytest.mark.parametrize("operation", ["SUM", "ASUM", "SUMSQ", "MEAN"])
def test_value_and_gradient(operation: str, coeff: float, axis: int) -> None:
    text = f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: {coeff} }}'
    y = One(text, X).forward()
    lead = X.shape[: axis % 3]
    assert y.shape == lead
    for at in np.ndindex(*lead):
        values = X[at].ravel()
        expected = {
            "SUM": sum(values),
            "ASUM": sum(abs(v) for v in values),
            "SUMSQ": sum(v * v for v in values),
            "MEAN": sum(values) / len(values),
        }[operation]
        assert float(y[at]) == pytest.approx(coeff * expected, rel=1e-5, abs=1e-6)
    check_gradient(text, [X])


def test_axis_out_of_range() -> None:
    with pytest.raises(ShapeError, match="axis 3 is out of range"):
        One('type: "Reduction" reduction_param { axis: 3 }', X)
