from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(0).standard_normal((2, 7, 4, 5)) * 2
ACROSS = "local_size: 3 alpha: 0.7 beta: 0.6 k: 2"
WITHIN = "norm_region: WITHIN_CHANNEL local_size: 3 alpha: 0.7 beta: 0.6"


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("text", [ACROSS, WITHIN, "local_size: 1", "alpha: 0.5"])
def test_gradient(text: str, in_place: bool) -> None:
    check_gradient(f'type: "LRN" lrn_param {{ {text} }}', [X], in_place=in_place)


def test_across_channels() -> None:
    y = One(f'type: "LRN" lrn_param {{ {ACROSS} }}', X, dtype=np.float64).forward()
    padded = np.pad(X**2, [(0, 0), (1, 1), (0, 0), (0, 0)])
    total = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    np.testing.assert_allclose(y, X / (2 + 0.7 / 3 * total) ** 0.6, rtol=1e-6)


def test_within_a_channel() -> None:
    y = One(f'type: "LRN" lrn_param {{ {WITHIN} k: 9 }}', X, dtype=np.float64).forward()
    padded = np.pad(X**2, [(0, 0), (0, 0), (1, 1), (1, 1)])
    total = sum(padded[:, :, i : i + 4, j : j + 5] for i in range(3) for j in range(3))
    np.testing.assert_allclose(y, X / (1 + 0.7 / 9 * total) ** 0.6, rtol=1e-6)


def test_bad_input() -> None:
    with pytest.raises(PrototxtError, match=r'layer "one" \(LRN\): local_size must be odd, got 4'):
        One('type: "LRN" lrn_param { local_size: 4 }', X)
    with pytest.raises(ShapeError, match=r"needs a bottom \(N, C, H, W\)"):
        One(f'type: "LRN" lrn_param {{ {WITHIN} }}', X[0])
