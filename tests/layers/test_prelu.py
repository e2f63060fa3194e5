from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(3).standard_normal((2, 3, 2, 2))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_value_and_gradient(shared: str, in_place: bool) -> None:
    text = f'type: "PReLU" prelu_param {{ channel_shared: {shared} filler {{ type: "uniform" min: -1 }} }}'
    one = One(text, X, in_place=in_place)
    y = one.forward()
    slope = np.broadcast_to(one.blobs[0], 3)
    assert one.blobs[0].shape == (() if shared == "true" else (3,))
    for n, c, h, w in np.ndindex(*X.shape):
        x = X[n, c, h, w]
        assert y[n, c, h, w] == pytest.approx(x if x > 0 else slope[c] * x, rel=1e-5)
    check_gradient(text, [X], in_place=in_place)


def test_starts_at_a_quarter() -> None:
    assert One('type: "PReLU"', X).blobs[0].tolist() == [0.25] * 3


def test_shapes() -> None:
    with pytest.raises(ShapeError, match="needs at least 2 axes"):
        One('type: "PReLU"', np.ones(3))
    with pytest.raises(ShapeError, match="has slopes for 3 channels"):
        One('type: "PReLU"', X).forward(X[:, :2])
