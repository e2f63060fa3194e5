"""ChannelScale, and its switches, which make gradients that are none of its own."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

IMAGE = (2, 6, 5, 4)
CATALOGUE = {
    "ChannelScale": [
        ("", (IMAGE, (2, 1, 5, 4))),
        ("", ((3, 5), (3,))),
        ("channel_scale_param { do_forward: false }", (IMAGE, (2, 1, 5, 4))),
        ("channel_scale_param { do_backward_feature: false do_backward_scale: false }", (IMAGE, (2, 5, 4))),
    ]
}
ARRAY_CODE = {"ChannelScale": "its broadcast has no kernels"}
RNG = np.random.default_rng(1)
X, FACTORS = RNG.standard_normal((2, 3, 4, 5)), RNG.standard_normal((2, 1, 4, 5))


def test_value_and_gradient() -> None:
    y = One('type: "ChannelScale"', X, FACTORS, dtype=np.float64).forward()
    for n, c, i, j in np.ndindex(*X.shape):
        assert y[n, c, i, j] == X[n, c, i, j] * FACTORS[n, 0, i, j]
    check_gradient('type: "ChannelScale"', [X, FACTORS])
    check_gradient('type: "ChannelScale"', [X[:, :, 0, 0], FACTORS[:, 0, 0, 0]])


def test_switches() -> None:
    def run(settings: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        one = One(f'type: "ChannelScale" channel_scale_param {{ {settings} }}', X, FACTORS, dtype=np.float64)
        return one.forward(), one.backward(X + 1), one.bottom[1].diff

    dx, factors = (X + 1) * FACTORS, ((X + 1) * X).sum(axis=1, keepdims=True)
    expected = {
        "do_forward: false": (X, dx, factors),
        "do_backward_feature: false": (X * FACTORS, X + 1, factors),
        "do_backward_scale: false": (X * FACTORS, dx, np.zeros_like(FACTORS)),
    }
    for settings, values in expected.items():
        for found, wanted in zip(run(settings), values, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"expected \(2, 1, 4, 5\), got \(2, 3, 4, 5\)"):
        One('type: "ChannelScale"', X, X)
    with pytest.raises(PrototxtError, match="global_scale, one factor that is no parameter, is not offered"):
        One('type: "ChannelScale" channel_scale_param { global_scale: true }', X, FACTORS)
    with pytest.raises(PrototxtError, match="cannot work in place"):
        One('type: "ChannelScale"', X, FACTORS, in_place=True)
