"""SeLU, in place or not, with the published constants and others."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "SeLU": [(), ("selu_param { lambda: 1.5 alpha: 0.5 }",), ("selu_param { lambda: 0.8 alpha: -0.5 }",)],
    "SeLu": [()],
}
X = np.random.default_rng(1).standard_normal((2, 3, 4)) * 2


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("scale", [1.5, -1.5, 0.0])
@pytest.mark.parametrize("alpha", [0.5, -0.5, 0.0])
def test_values(scale: float, alpha: float, in_place: bool) -> None:
    text = f'type: "SeLU" selu_param {{ lambda: {scale} alpha: {alpha} }}'
    expected = [scale * (x if x > 0 else alpha * math.expm1(x)) for x in X.ravel()]
    y = One(text, X, in_place=in_place, dtype=np.float64).forward()
    np.testing.assert_allclose(y.ravel(), expected, rtol=1e-12, atol=1e-15)
    check_gradient(text, [X], in_place=in_place)


def test_the_published_constants_are_the_default() -> None:
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.selu(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(One('type: "SeLU"', X).forward(), expected, rtol=1e-6)
