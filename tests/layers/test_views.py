"""Flatten, Reshape and Squeeze: shapes, and memory that is the bottom's own."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from tests.layers.helpers import One

X = np.arange(24.0).reshape(2, 3, 1, 4)
CASES = {
    'type: "Flatten"': (2, 12),
    'type: "Flatten" flatten_param { axis: 0 end_axis: 1 }': (6, 1, 4),
    'type: "Flatten" flatten_param { axis: -2 end_axis: -1 }': (2, 3, 4),
    'type: "Reshape" reshape_param { shape { dim: 4 dim: 6 } }': (4, 6),
    'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }': (2, 12),
    'type: "Reshape" reshape_param { shape { dim: 0 dim: 0 dim: 2 dim: 2 } }': (2, 3, 2, 2),
    'type: "Reshape" reshape_param { axis: 1 num_axes: 2 shape { dim: 3 } }': (2, 3, 4),
    'type: "Reshape" reshape_param { axis: -1 shape { dim: 1 } }': (2, 3, 1, 4, 1),
    'type: "Reshape" reshape_param { axis: 1 num_axes: 0 shape { dim: 1 } }': (2, 1, 3, 1, 4),
    'type: "Reshape" reshape_param { axis: -2 shape { dim: 2 dim: -1 } }': (2, 3, 1, 2, 2),
    'type: "Squeeze"': (2, 3, 4),
    'type: "Squeeze" squeeze_param { axis: -2 }': (2, 3, 4),
}


@pytest.mark.parametrize("text", CASES)
def test_shape_and_memory(text: str) -> None:
    one = One(text, X)
    np.testing.assert_array_equal(one.forward(), X.reshape(CASES[text]))
    assert one.top[0].data_storage is one.bottom[0].data_storage
    diff = np.random.default_rng(0).standard_normal(CASES[text]).astype(np.float32)
    np.testing.assert_array_equal(one.backward(diff), diff.reshape(X.shape))


def test_follows_a_bottom_that_grows() -> None:
    one = One('type: "Flatten"', X)
    one.forward(np.ones((5, 3, 2, 4)))
    assert one.top[0].data.tolist() == np.ones((5, 24)).tolist()


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('type: "Flatten" flatten_param { axis: 2 end_axis: 1 }', ShapeError, "end_axis 1 lies before axis 2"),
        ('type: "Flatten" flatten_param { axis: 4 }', ShapeError, "axis 4 is out of range"),
        ('type: "Reshape" reshape_param { shape { dim: -1 dim: -1 } }', PrototxtError, "at most one dim can be -1"),
        ('type: "Reshape" reshape_param { shape { dim: -2 } }', PrototxtError, "a dim is -1, 0 or positive"),
        ('type: "Reshape" reshape_param { num_axes: -2 }', PrototxtError, "num_axes must be -1 or more, got -2"),
        ('type: "Reshape" reshape_param { shape { dim: 5 dim: -1 } }', ShapeError, "24 values .* cannot be divided"),
        ('type: "Reshape" reshape_param { shape { dim: 5 dim: 5 } }', ShapeError, "expected 24 values"),
        ('type: "Reshape" reshape_param { axis: 5 }', ShapeError, "axis 5 is out of range"),
        ('type: "Reshape" reshape_param { axis: 3 num_axes: 2 }', ShapeError, "reach beyond"),
        ('type: "Reshape" reshape_param { axis: -1 shape { dim: 0 } }', ShapeError, "has no axis 4 to copy"),
        ('type: "Squeeze" squeeze_param { axis: 1 }', ShapeError, "axis 1 must have extent 1"),
    ],
)
def test_messages(text: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        One(text, X)


def test_not_in_place() -> None:
    with pytest.raises(PrototxtError, match="cannot work in place"):
        One('type: "Flatten"', X, in_place=True)
