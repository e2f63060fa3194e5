from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(1).standard_normal((2, 3, 4, 5))
GAUSSIAN = 'filler { type: "gaussian" }'


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    "options",
    ["", "axis: 0", "axis: -1", "num_axes: 2", "num_axes: -1", "num_axes: 0", "bias_term: true axis: 2"],
)
def test_gradient(options: str, in_place: bool) -> None:
    check_gradient(f'type: "Scale" scale_param {{ {options} {GAUSSIAN} }}', [X], in_place=in_place)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("axis", "shape"), [(0, (2, 3)), (1, (3, 4)), (-1, (5,)), (0, (2, 3, 4, 5)), (0, ())])
@pytest.mark.parametrize("bias", ["false", "true"])
def test_gradient_of_two_bottoms(axis: int, shape: tuple[int, ...], bias: str, in_place: bool) -> None:
    text = f'type: "Scale" scale_param {{ axis: {axis} bias_term: {bias} }}'
    scale = np.random.default_rng(2).standard_normal(shape)
    check_gradient(text, [X, scale], in_place=in_place, most=40)


def test_starts_as_identity() -> None:
    one = One('type: "Scale" scale_param { bias_term: true }', X)
    np.testing.assert_array_equal(one.forward(), X.astype(np.float32))
    assert [blob.shape for blob in one.layer.blobs] == [(3,), (3,)]


def test_shapes_that_do_not_fit() -> None:
    message = r'layer "one" \(Scale\): an operand of shape \(4,\) does not fit at axis 1'
    with pytest.raises(ShapeError, match=message):
        One('type: "Scale"', X, np.ones(4))
    with pytest.raises(ShapeError, match="num_axes 4 reach beyond"):
        One('type: "Scale" scale_param { num_axes: 4 }', X)
    with pytest.raises(PrototxtError, match="num_axes must be -1 or more, got -2"):
        One('type: "Scale" scale_param { num_axes: -2 }', X)
    one = One('type: "Scale"', X)
    with pytest.raises(ShapeError, match="does not fit"):
        one.forward(np.ones((2, 4, 4, 5)))
