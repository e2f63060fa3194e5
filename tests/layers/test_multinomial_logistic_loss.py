from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import DataError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

P = np.random.default_rng(3).uniform(0.1, 1, (5, 4))
LABEL = [0, 3, 1, 1, 2]


def test_value_and_gradient() -> None:
    total = -sum(math.log(p[label]) for p, label in zip(P, LABEL, strict=True))
    assert float(One('type: "MultinomialLogisticLoss"', P, LABEL).forward()) == pytest.approx(total / 5, rel=1e-6)
    check_gradient('type: "MultinomialLogisticLoss"', [P, LABEL])


def test_probability_of_zero_is_finite() -> None:
    one = One('type: "MultinomialLogisticLoss"', [[0.0, 1.0]], [0])
    assert float(one.forward()) == pytest.approx(-math.log(1e-20), rel=1e-6)
    assert np.isfinite(one.backward(1.0)).all()


def test_label_out_of_range() -> None:
    with pytest.raises(DataError, match=r"label 7 at position \(1,\)"):
        One('type: "MultinomialLogisticLoss"', P[:2], [0, 7]).forward()
