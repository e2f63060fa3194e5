from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(1).standard_normal((2, 3))


@pytest.mark.parametrize("tops", [1, 2, 4])
def test_value_and_gradient(tops: int) -> None:
    one = One('type: "Split"', X, n_top=tops)
    one.forward()
    for blob in one.top:
        assert blob.data_storage is one.bottom[0].data_storage
        np.testing.assert_array_equal(blob.data, X.astype(np.float32))
    check_gradient('type: "Split"', [X], n_top=tops)


def test_not_in_place() -> None:
    with pytest.raises(PrototxtError, match="cannot work in place"):
        One('type: "Split"', X, in_place=True)
