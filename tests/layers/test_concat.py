from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(6)
SHAPES = {0: [(2, 3, 2), (1, 3, 2)], 1: [(2, 3, 2), (2, 1, 2), (2, 2, 2)], -1: [(2, 3, 2), (2, 3, 5)]}


@pytest.mark.parametrize("axis", SHAPES)
def test_value_and_gradient(axis: int) -> None:
    xs = [RNG.standard_normal(shape) for shape in SHAPES[axis]]
    text = f'type: "Concat" concat_param {{ axis: {axis} }}'
    np.testing.assert_array_equal(One(text, *xs, dtype=np.float64).forward(), np.concatenate(xs, axis))
    check_gradient(text, xs)


def test_older_name() -> None:
    assert One('type: "Concat" concat_param { concat_dim: 0 }', np.ones((2, 3)), np.ones((1, 3))).forward().shape == (
        3,
        3,
    )


def test_single_bottom_is_shared() -> None:
    one = One('type: "Concat"', np.ones((2, 3)))
    one.forward()
    assert one.top[0].data_storage is one.bottom[0].data_storage
    np.testing.assert_array_equal(one.backward(np.full((2, 3), 4)), np.full((2, 3), 4))


def test_messages() -> None:
    with pytest.raises(
        ShapeError, match=r"bottom 1 must equal bottom 0 except on axis 1: expected \(2, 3\), got \(1, 3\)"
    ):
        One('type: "Concat"', np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(ShapeError, match="bottom 1 must equal bottom 0"):
        One('type: "Concat"', np.ones((2, 3)), np.ones((2, 3, 1)))
    with pytest.raises(PrototxtError, match="has both axis and concat_dim"):
        One('type: "Concat" concat_param { axis: 1 concat_dim: 1 }', np.ones((2, 3)))
