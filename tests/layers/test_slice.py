from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(6).standard_normal((2, 6, 3))


@pytest.mark.parametrize(
    ("setting", "axis", "parts"),
    [
        ("", 1, [2, 2, 2]),
        ("slice_point: 1 slice_point: 4", 1, [1, 3, 2]),
        ("axis: -1", 2, [1, 1, 1]),
        ("slice_dim: 0", 0, [1, 1]),
    ],
)
def test_value_and_gradient(setting: str, axis: int, parts: list[int]) -> None:
    text = f'type: "Slice" slice_param {{ {setting} }}'
    one = One(text, X, n_top=len(parts), dtype=np.float64)
    one.forward()
    for blob, expected in zip(one.top, np.split(X, np.cumsum(parts)[:-1], axis), strict=True):
        np.testing.assert_array_equal(blob.data, expected)
    check_gradient(text, [X], n_top=len(parts))


def test_single_top_is_shared() -> None:
    one = One('type: "Slice"', X)
    one.forward()
    assert one.top[0].diff_storage is one.bottom[0].diff_storage


@pytest.mark.parametrize(
    ("setting", "tops", "kind", "message"),
    [
        ("axis: 1 slice_dim: 1", 2, PrototxtError, "has both axis and slice_dim"),
        ("slice_point: 1", 3, PrototxtError, "expected 2 slice_point for 3 tops, got 1"),
        ("slice_point: 3 slice_point: 2", 3, PrototxtError, "slice_point must rise"),
        ("slice_point: 0", 2, PrototxtError, "slice_point must rise"),
        ("slice_point: 6", 2, ShapeError, "slice_point 6 is beyond axis 1"),
        ("", 4, ShapeError, r"axis 1 of shape \(2, 6, 3\) cannot be cut into 4 equal parts"),
    ],
)
def test_messages(setting: str, tops: int, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        One(f'type: "Slice" slice_param {{ {setting} }}', X, n_top=tops)
