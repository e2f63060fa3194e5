from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(3).standard_normal((2, 3, 2, 4)) + 1


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("eps", [1e-9, 0.5])
@pytest.mark.parametrize("variance", [True, False])
@pytest.mark.parametrize("across", [True, False])
def test_value_and_gradient(across: bool, variance: bool, eps: float, in_place: bool) -> None:
    text = (
        f'type: "MVN" mvn_param {{ across_channels: {str(across).lower()} '
        f"normalize_variance: {str(variance).lower()} eps: {eps} }}"
    )
    y = One(text, X, in_place=in_place).forward()
    for given, got in zip(X.reshape(2 if across else 6, -1), y.reshape(2 if across else 6, -1), strict=True):
        mean = sum(given) / len(given)
        std = (sum((v - mean) ** 2 for v in given) / len(given)) ** 0.5
        np.testing.assert_allclose(got, (given - mean) / (std + eps if variance else 1), rtol=1e-4, atol=1e-5)
    check_gradient(text, [X], in_place=in_place)


def test_constant_channel_is_finite() -> None:
    one = One('type: "MVN"', np.ones((1, 1, 2, 2)))
    assert not one.forward().any()
    assert np.isfinite(one.backward(X[:1, :1, :, :2])).all()


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"needs at least 2 axes, got a bottom of shape \(3,\)"):
        One('type: "MVN"', np.ones(3))
    with pytest.raises(PrototxtError, match="eps must not be negative"):
        One('type: "MVN" mvn_param { eps: -1 }', X)
