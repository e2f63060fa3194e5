from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(8).standard_normal((4, 2, 3))


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 3, 0], [1]])
def test_value_and_gradient(order: list[int]) -> None:
    y = One('type: "BatchReindex"', X, order, dtype=np.float64).forward()
    assert y.tolist() == [X[i].tolist() for i in order]
    check_gradient('type: "BatchReindex"', [X, order])


def test_messages() -> None:
    with pytest.raises(DataError, match=r"index 4 at position 1: expected 0 to 3"):
        One('type: "BatchReindex"', X, [0, 4]).forward()
    with pytest.raises(ShapeError, match="expected items and a list of indices"):
        One('type: "BatchReindex"', X, [[0]])
    one = One('type: "BatchReindex"', X, [0])
    one.forward()
    with pytest.raises(PrototxtError, match="bottom 1 lists indices"):
        one.backward(X[:1], propagate_down=[True, True])
