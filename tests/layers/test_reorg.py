"""Reorg against Darknet's loop over flat indices, which it has to follow for YOLOv2's weights to mean the same."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "Reorg": [
        ("reorg_param { stride: 2 }", ((2, 8, 4, 6),)),
        ("reorg_param { stride: 2 reverse: true }", ((2, 8, 3, 2),)),
        ("reorg_param { stride: 3 }", ((1, 9, 3, 6),)),
        ("reorg_param { stride: 1 }",),
    ]
}
X = np.random.default_rng(1).standard_normal((2, 12, 4, 6))


def by_flat_indices(x: np.ndarray, s: int, reverse: bool) -> np.ndarray:
    """The element at a flat index of the finer array, for each one of the coarser array."""
    n, c, h, w = x.shape
    few = c // (s * s)
    y = np.empty(x.size)
    for b, k, j, i in np.ndindex(n, c, h, w):
        coarse = ((b * c + k) * h + j) * w + i
        row, column = j * s + k // few // s, i * s + k // few % s
        fine = ((b * few + k % few) * h * s + row) * w * s + column
        if reverse:
            y[fine] = x.flat[coarse]
        else:
            y[coarse] = x.flat[fine]
    return y.reshape((n, few, h * s, w * s) if reverse else (n, c * s * s, h // s, w // s))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_values(stride: int, reverse: bool) -> None:
    text = f'type: "Reorg" reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}'
    y = One(text, X, dtype=np.float64).forward()
    np.testing.assert_array_equal(y, by_flat_indices(X, stride, reverse))
    check_gradient(text, [X], most=40)


def test_reverse_puts_channels_into_space() -> None:
    y = One('type: "Reorg" reorg_param { stride: 2 reverse: true }', X, dtype=np.float64).forward()
    for c, i, j in np.ndindex(3, 2, 2):
        np.testing.assert_array_equal(y[:, c, i::2, j::2], X[:, (i * 2 + j) * 3 + c])


@pytest.mark.parametrize(
    ("settings", "shape", "kind", "message"),
    [
        ("", (1, 4, 2, 2), PrototxtError, "needs reorg_param { stride: ... } of at least 1"),
        ("reorg_param { stride: 2 }", (1, 4, 2), ShapeError, r"needs a bottom \(N, C, H, W\), got shape \(1, 4, 2\)"),
        ("reorg_param { stride: 2 }", (1, 6, 2, 2), ShapeError, "stride 2 needs channels that 4 divides"),
        ("reorg_param { stride: 2 }", (1, 4, 3, 2), ShapeError, "stride 2 must divide height and width"),
    ],
)
def test_messages(settings: str, shape: tuple[int, ...], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        One(f'type: "Reorg" {settings}', np.zeros(shape))


def test_in_place_is_refused() -> None:
    with pytest.raises(PrototxtError, match="cannot work in place"):
        One('type: "Reorg" reorg_param { stride: 1 }', X, in_place=True)
