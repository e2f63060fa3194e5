from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(3).standard_normal((2, 3, 2))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("tiles", [1, 3])
def test_value_and_gradient(axis: int, tiles: int) -> None:
    text = f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}'
    np.testing.assert_array_equal(One(text, X, dtype=np.float64).forward(), np.concatenate([X] * tiles, axis))
    check_gradient(text, [X])


def test_tiles_are_needed() -> None:
    with pytest.raises(PrototxtError, match="tiles must be at least 1, got 0"):
        One('type: "Tile"', X)
