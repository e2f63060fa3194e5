from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(3).standard_normal((5, 4))
LABEL = [0, 3, 1, 1, 2]


@pytest.mark.parametrize(("norm", "power"), [("", 1), ("norm: L1", 1), ("norm: L2", 2)])
def test_value_and_gradient(norm: str, power: int) -> None:
    total = 0.0
    for x, label in zip(X, LABEL, strict=True):
        for k, value in enumerate(x):
            total += max(0, 1 - value if k == label else 1 + value) ** power
    text = f'type: "HingeLoss" hinge_loss_param {{ {norm} }}'
    assert float(One(text, X, LABEL).forward()) == pytest.approx(total / 5, rel=1e-6)
    check_gradient(text, [X, LABEL])


def test_messages() -> None:
    with pytest.raises(DataError, match=r"label 4 at position \(0,\) is out of range: expected 0 to 3 for 4 classes"):
        One('type: "HingeLoss"', X, [4] * 5).forward()
    with pytest.raises(ShapeError, match="expected 5 labels"):
        One('type: "HingeLoss"', X, np.zeros((5, 2)))
