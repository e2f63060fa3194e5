from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(9).standard_normal((2, 3, 5, 6))
CASES = {
    "": ((9, 9, 2, 3), np.s_[:, :, 0:2, 0:3]),
    "offset: 1": ((9, 9, 2, 3), np.s_[:, :, 1:3, 1:4]),
    "offset: 3 offset: 0": ((9, 9, 2, 3), np.s_[:, :, 3:5, 0:3]),
    "axis: 1 offset: 1 offset: 2 offset: 3": ((9, 2, 2, 3), np.s_[:, 1:3, 2:4, 3:6]),
    "axis: -1 offset: 2": ((9, 9, 9, 4), np.s_[:, :, :, 2:6]),
}


@pytest.mark.parametrize("setting", CASES)
def test_value_and_gradient(setting: str) -> None:
    size, place = CASES[setting]
    text = f'type: "Crop" crop_param {{ {setting} }}'
    np.testing.assert_array_equal(One(text, X, np.ones(size), dtype=np.float64).forward(), X[place])
    check_gradient(text, [X, np.ones(size)])


def test_size_gets_no_gradient() -> None:
    one = One('type: "Crop"', X, np.ones((2, 3, 2, 2)))
    one.bottom[1].diff[...] = 3
    one.backward(np.ones((2, 3, 2, 2)), propagate_down=[False, True])
    assert not one.bottom[1].diff.any()


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"axis 3: offset 4 and size 3 reach beyond a bottom of shape \(2, 3, 5, 6\)"):
        One('type: "Crop" crop_param { offset: 0 offset: 4 }', X, np.ones((2, 3, 2, 3)))
    with pytest.raises(PrototxtError, match="expected 1 offset or 2 of them, got 3"):
        One('type: "Crop" crop_param { offset: 0 offset: 0 offset: 0 }', X, np.ones((2, 3, 2, 3)))
    with pytest.raises(ShapeError, match="as many axes: expected 4"):
        One('type: "Crop"', X, np.ones((2, 3)))
