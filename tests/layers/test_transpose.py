"""Transpose: where each value goes, and settings that name the axes wrongly."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "Transpose": [
        ("transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 }",),
        ("transpose_param { dim: 0 dim: 2 dim: 1 }", ((2, 3, 4),)),
        ("transpose_param { dim: 0 dim: -1 dim: 1 dim: 2 }",),
    ]
}
X = np.random.default_rng(1).standard_normal((2, 3, 4, 5))


@pytest.mark.parametrize("dim", [(3, 2, 0, 1), (0, 1, 2, 3), (-1, 0, -2, 1)])
def test_values(dim: tuple[int, ...]) -> None:
    text = f'type: "Transpose" transpose_param {{ {" ".join(f"dim: {d}" for d in dim)} }}'
    y = One(text, X, dtype=np.float64).forward()
    for at in np.ndindex(*X.shape):
        assert y[tuple(at[d % 4] for d in dim)] == X[at]
    check_gradient(text, [X], most=40)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ("", PrototxtError, "needs transpose_param { dim: ... }, one for each axis of the bottom"),
        ("transpose_param { dim: 1 dim: 0 }", ShapeError, r"dim must name each axis .* once, got \[1, 0\]"),
        ("transpose_param { dim: 1 dim: 0 dim: 1 dim: 2 }", ShapeError, r"once, got \[1, 0, 1, 2\]"),
        ("transpose_param { dim: 4 dim: 0 dim: 1 dim: 2 }", ShapeError, "axis 4 is out of range"),
    ],
)
def test_messages(settings: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        One(f'type: "Transpose" {settings}', X)
