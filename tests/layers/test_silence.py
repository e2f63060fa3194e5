from __future__ import annotations

import numpy as np

from tests.layers.helpers import One


def test_clears_the_gradients_that_are_wanted() -> None:
    one = One('type: "Silence"', np.ones(3), np.ones(2), n_top=0)
    for blob in one.bottom:
        blob.diff[...] = 5
    one.layer.reshape(one.bottom, [])
    one.layer.forward(one.bottom, [])
    one.layer.backward([], [True, False], one.bottom)
    assert [blob.diff.tolist() for blob in one.bottom] == [[0, 0, 0], [5, 5]]
