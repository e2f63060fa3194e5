from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(1)
A, B = RNG.standard_normal((2, 3, 4)) * 2
WEIGHTS = RNG.uniform(0, 2, (2, 3, 4))


@pytest.mark.parametrize("n_weights", [0, 1, 2])
@pytest.mark.parametrize("sigma", [1, 3])
def test_value_and_gradient(sigma: float, n_weights: int) -> None:
    total = 0.0
    inner = WEIGHTS[0] if n_weights > 0 else np.ones_like(A)
    outer = WEIGHTS[1] if n_weights > 1 else np.ones_like(A)
    for at in np.ndindex(*A.shape):
        d = abs(inner[at] * (A[at] - B[at]))
        total += outer[at] * (0.5 * (sigma * d) ** 2 if d < 1 / sigma**2 else d - 0.5 / sigma**2)
    text = f'type: "SmoothL1Loss" smooth_l1_loss_param {{ sigma: {sigma} }}'
    bottom = [A, B, *WEIGHTS[:n_weights]]
    assert float(One(text, *bottom).forward()) == pytest.approx(total / 3, rel=1e-5)
    assert check_gradient(text, bottom) == 24


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="sigma must be positive, got 0"):
        One('type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 0 }', A, B)
    with pytest.raises(ShapeError, match=r"bottom 1 must have the shape of bottom 0: expected \(3, 4\), got \(3, 2\)"):
        One('type: "SmoothL1Loss"', A, B[:, :2])
