"""MaskPooling and MaskResize against loops."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "MaskPooling": [("", ((2, 6, 5, 4), (2, 1, 5, 4)))],
    "MaskResize": [
        ("mask_resize_param { output_width: 7 output_height: 3 }",),
        ("mask_resize_param { output_width: 2 output_height: 9 }",),
    ],
}
ARRAY_CODE = {"MaskPooling": "has no kernels yet", "MaskResize": "has no kernels yet"}
RNG = np.random.default_rng(2)
X = RNG.standard_normal((2, 3, 5, 4))
MASK = RNG.standard_normal((2, 1, 5, 4))


def test_pooling() -> None:
    y = One('type: "MaskPooling"', X, MASK, dtype=np.float64).forward()
    for n, c, i, j in np.ndindex(*X.shape):
        assert y[n, c, i, j] == X[n, c, i, j] * MASK[n, 0, i, j]
    assert check_gradient('type: "MaskPooling"', [X, MASK]) == X.size + MASK.size


@pytest.mark.parametrize("size", [(5, 4), (10, 8), (3, 3), (14, 2), (1, 1)])
def test_resize(size: tuple[int, int]) -> None:
    text = f'type: "MaskResize" mask_resize_param {{ output_height: {size[0]} output_width: {size[1]} }}'
    y = One(text, X, dtype=np.float64).forward()
    for n, c, h, w in np.ndindex(2, 3, *size):
        v, u = h * 5 / size[0], w * 4 / size[1]
        expected = 0.0
        if v <= 4.5 and u <= 3.5:
            v, u = min(v, 4), min(u, 3)
            i, j = min(int(v), 3), min(int(u), 2)
            rows = X[n, c, i : i + 2, j : j + 2] @ [1 - (u - j), u - j]
            expected = float(rows @ [1 - (v - i), v - i])
        assert y[n, c, h, w] == pytest.approx(expected, abs=1e-12)
    assert check_gradient(text, [X]) == X.size


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"expected a mask of shape \(2, 1, 5, 4\)"):
        One('type: "MaskPooling"', X, MASK[:, :, :3])
    with pytest.raises(PrototxtError, match="output_height and output_width must be at least 1"):
        One('type: "MaskResize"', X)
    with pytest.raises(ShapeError, match=r"expected a bottom \(N, C, H, W\)"):
        One('type: "MaskResize" mask_resize_param { output_height: 2 output_width: 2 }', X[0])
