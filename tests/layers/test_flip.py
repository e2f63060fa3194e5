"""Flip: images mirrored along width, height, both or neither."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "Flip": [
        (),
        ("flip_param { flip_height: true }",),
        ("flip_param { flip_width: false flip_height: true }",),
        ("flip_param { flip_width: false }",),
    ]
}
X = np.random.default_rng(1).standard_normal((2, 3, 4, 5))


@pytest.mark.parametrize("height", [False, True])
@pytest.mark.parametrize("width", [False, True])
def test_values(width: bool, height: bool) -> None:
    text = f'type: "Flip" flip_param {{ flip_width: {width} flip_height: {height} }}'.replace("True", "true")
    text = text.replace("False", "false")
    y = One(text, X, dtype=np.float64).forward()
    for n, c, i, j in np.ndindex(*X.shape):
        assert y[n, c, 3 - i if height else i, 4 - j if width else j] == X[n, c, i, j]
    check_gradient(text, [X], most=40)


def test_the_width_is_flipped_unless_said_otherwise() -> None:
    np.testing.assert_array_equal(One('type: "Flip"', X, dtype=np.float64).forward(), X[:, :, :, ::-1])


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"needs a bottom \(N, C, H, W\), got shape \(2, 3\)"):
        One('type: "Flip"', np.zeros((2, 3)))
    with pytest.raises(PrototxtError, match="cannot work in place"):
        One('type: "Flip"', X, in_place=True)
