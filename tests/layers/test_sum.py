"""Sum over axes of one bottom, and of several bottoms."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

IMAGE = (2, 6, 5, 4)
CATALOGUE = {
    "Sum": [
        ("sum_param {}",),
        ("sum_param { axis: 1 axis: 3 }",),
        ("sum_param { axis: -1 keepdims: true }",),
        ("", (IMAGE, IMAGE, IMAGE)),
    ]
}
X = np.random.default_rng(1).standard_normal((2, 3, 4))
ARRAY_CODE = {"Sum sum_param": "no kernel sums over axes that are not neighbours"}


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [(), (1,), (0, 2), (-1, 0)])
def test_over_axes(axes: tuple[int, ...], keepdims: bool) -> None:
    text = " ".join(f"axis: {axis}" for axis in axes) + f" keepdims: {str(keepdims).lower()}"
    y = One(f'type: "Sum" sum_param {{ {text} }}', X, dtype=np.float64).forward()
    over = {axis % 3 for axis in axes} or {0, 1, 2}
    kept = tuple(1 if i in over else n for i, n in enumerate(X.shape))
    assert y.shape == (kept if keepdims else tuple(n for i, n in enumerate(X.shape) if i not in over))
    expected = np.zeros(kept)
    for at in np.ndindex(*X.shape):
        expected[tuple(0 if i in over else k for i, k in enumerate(at))] += X[at]
    np.testing.assert_allclose(y.reshape(kept), expected)
    check_gradient(f'type: "Sum" sum_param {{ {text} }}', [X])


def test_of_several_bottoms() -> None:
    text = 'type: "Sum" bottom: "a" bottom: "b" bottom: "c"'
    np.testing.assert_allclose(One(text, X, 2 * X, X + 1).forward(), 4 * X + 1, rtol=1e-5, atol=1e-6)
    check_gradient(text, [X, X, X])


def test_messages() -> None:
    with pytest.raises(ShapeError, match="axis 3 is out of range for a bottom with 3 axes"):
        One('type: "Sum" sum_param { axis: 3 }', X)
    with pytest.raises(PrototxtError, match="takes exactly 1 bottom blob, got 2"):
        One('type: "Sum" bottom: "a" bottom: "b" sum_param { axis: 1 }', X, X)
