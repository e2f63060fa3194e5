from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(1).standard_normal((2, 2, 5, 4))
SIZES = {
    "height: 7 width: 3": (7, 3),
    "height: 1 width: 1": (1, 1),
    "zoom_factor: 3": (13, 10),
    "shrink_factor: 2": (3, 2),
    "shrink_factor: 2 zoom_factor: 2": (5, 3),
    "zoom_factor: 2 pad_beg: -1": (7, 5),
    "zoom_factor: 2 pad_end: -2": (5, 3),
    "": (5, 4),
}


@pytest.mark.parametrize("setting", SIZES)
def test_value_and_gradient(setting: str) -> None:
    text = f'type: "Interp" interp_param {{ {setting} }}'
    y = One(text, X, dtype=np.float64).forward()
    assert y.shape[2:] == SIZES[setting]
    x = X[:, :, 1:, 1:] if "beg" in setting else X[:, :, :-2, :-2] if "end" in setting else X
    height, width = x.shape[2:]
    for i, j in np.ndindex(*SIZES[setting]):
        at = [
            k * (old - 1) / (new - 1) if new > 1 else 0
            for k, old, new in zip((i, j), (height, width), SIZES[setting], strict=True)
        ]
        i0, j0 = int(at[0] + 1e-12), int(at[1] + 1e-12)
        i1, j1 = min(i0 + 1, height - 1), min(j0 + 1, width - 1)
        di, dj = at[0] - i0, at[1] - j0
        above = x[:, :, i0, j0] * (1 - dj) + x[:, :, i0, j1] * dj
        below = x[:, :, i1, j0] * (1 - dj) + x[:, :, i1, j1] * dj
        np.testing.assert_allclose(y[:, :, i, j], above * (1 - di) + below * di, atol=1e-9)
    check_gradient(text, [X], most=40)


def test_size_of_a_second_bottom() -> None:
    assert One('type: "Interp"', X, np.ones((1, 9, 3, 8))).forward().shape == (2, 2, 3, 8)


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="height and width must be set together"):
        One('type: "Interp" interp_param { height: 3 }', X)
    with pytest.raises(PrototxtError, match="they must be 0 or negative"):
        One('type: "Interp" interp_param { pad_beg: 1 }', X)
    with pytest.raises(PrototxtError, match="must be at least 1"):
        One('type: "Interp" interp_param { zoom_factor: 0 }', X)
    with pytest.raises(ShapeError, match="needs a bottom of shape"):
        One('type: "Interp"', X[0])
    with pytest.raises(ShapeError, match="nothing to interpolate"):
        One('type: "Interp" interp_param { pad_beg: -5 }', X)
