from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 4)) * 2
T = np.round(RNG.uniform(0, 1, (3, 4)), 2)
T[0, 0] = T[1, 2] = 1
MODES = {
    "": 3,
    "normalization: FULL": 12,
    "normalization: VALID": 0,
    "normalization: BATCH_SIZE": 3,
    "normalization: NONE": 1,
    "normalize: true": 0,
    "normalize: false": 3,
}


@pytest.mark.parametrize("ignore", [None, 1])
@pytest.mark.parametrize("mode", MODES)
def test_value_and_gradient(mode: str, ignore: int | None) -> None:
    total, valid = 0.0, 0
    for x, t in zip(X.ravel(), T.ravel(), strict=True):
        if t != ignore:
            valid += 1
            s = 1 / (1 + math.exp(-x))
            total -= t * math.log(s) + (1 - t) * math.log(1 - s)
    more = "" if ignore is None else f"ignore_label: {ignore}"
    text = f'type: "SigmoidCrossEntropyLoss" loss_param {{ {mode} {more} }}'
    assert float(One(text, X, T).forward()) == pytest.approx(total / (MODES[mode] or valid), rel=1e-5)
    check_gradient(text, [X, T])


def test_large_values_stay_finite() -> None:
    one = One('type: "SigmoidCrossEntropyLoss"', [[1e4, -1e4]], [[0, 0]])
    assert float(one.forward()) == pytest.approx(1e4)


def test_shapes() -> None:
    with pytest.raises(ShapeError, match=r"a target for each value of shape \(3, 4\), got \(3, 2\)"):
        One('type: "SigmoidCrossEntropyLoss"', X, T[:, :2])
