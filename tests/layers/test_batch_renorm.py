from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.layers.batch_renorm import BatchRenorm
from tests.layers.helpers import One

RNG = np.random.default_rng(1)
X = RNG.standard_normal((4, 2, 3)) * 2 + 1
SETTING = "step_to_init: 2 step_to_r_max: 6 step_to_d_max: 4 r_max: 1.5 d_max: 0.5 moving_average_fraction: 0.9"
TEXT = f'type: "BatchRenorm" batch_renorm_param {{ {SETTING} }}'


@pytest.mark.parametrize("in_place", [False, True])
def test_training_against_the_formulas(in_place: bool) -> None:
    one = One(TEXT, X, dtype=np.float64, in_place=in_place)
    mean_sum, var_sum, weight = np.zeros(2), np.zeros(2), 0.0
    corrected = False
    for step in range(9):
        x = RNG.standard_normal(X.shape) * (1 + step / 4) + step / 4
        y = one.forward(x)
        risen = [min(1, max(0, step - 2) / span) for span in (4, 2)]
        r_max, d_max = 1 + 0.5 * risen[0], 0.5 * risen[1]
        for c in range(2):
            values = x[:, c].ravel()
            mean, var = values.mean(), ((values - values.mean()) ** 2).mean()
            std = math.sqrt(var + 1e-5)
            r, d = 1.0, 0.0
            if weight:
                old_mean, old_std = mean_sum[c] / weight, math.sqrt(var_sum[c] / weight + 1e-5)
                r = min(max(std / old_std, 1 / r_max), r_max)
                d = min(max((mean - old_mean) / old_std, -d_max), d_max)
            corrected |= abs(r - 1) > 0.1 and abs(d) > 0.1
            np.testing.assert_allclose(y[:, c], (x[:, c] - mean) / std * r + d, rtol=1e-5, atol=1e-6)
            mean_sum[c] = 0.9 * mean_sum[c] + mean
            var_sum[c] = 0.9 * var_sum[c] + var * 12 / 11
        weight = 0.9 * weight + 1
    assert corrected
    np.testing.assert_allclose(one.blobs[0], mean_sum, rtol=1e-6)
    np.testing.assert_allclose(one.blobs[1], var_sum, rtol=1e-6)
    assert one.blobs[3][0] == 9


def test_gradient_takes_the_correction_as_constant() -> None:
    """The gradient of the bottom is that of batch normalisation times r."""
    one = One(TEXT, X, dtype=np.float64)
    for _ in range(8):
        one.forward(RNG.standard_normal(X.shape))
    one.forward(X)
    dy = RNG.standard_normal(X.shape)
    plain = One('type: "BatchNorm"', X, dtype=np.float64)
    plain.forward()
    assert isinstance(one.layer, BatchRenorm)
    assert np.abs(one.layer.r - 1).max() > 0.1
    np.testing.assert_allclose(one.backward(dy), plain.backward(dy) * one.layer.r[:, None], rtol=1e-6)


@pytest.mark.parametrize("in_place", [False, True])
def test_gradient_before_the_correction_and_in_test(in_place: bool) -> None:
    check_gradient('type: "BatchRenorm"', [X], in_place=in_place, tolerance=1e-5)
    one = One('type: "BatchRenorm"', X, phase=TEST, dtype=np.float64)
    one.blobs[1][...], one.blobs[2][...] = 3, 1
    np.testing.assert_allclose(one.forward(), X / math.sqrt(3 + 1e-5), rtol=1e-6)
    np.testing.assert_allclose(one.backward(X), X / math.sqrt(3 + 1e-5), rtol=1e-6)


def test_nothing_here_is_learned() -> None:
    assert One(TEXT, X).layer.buffers == {0, 1, 2, 3}


def test_use_global_stats_overrules_the_phase() -> None:
    one = One('type: "BatchRenorm" batch_renorm_param { use_global_stats: true }', X)
    one.blobs[1][...], one.blobs[2][...] = 1, 1
    np.testing.assert_allclose(one.forward(), X, rtol=1e-4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [("eps: -1", "eps must not"), ("moving_average_fraction: 2", "between 0 and 1"), ("r_max: 0.5", "at least 1")],
)
def test_messages(setting: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        One(f'type: "BatchRenorm" batch_renorm_param {{ {setting} }}', X)
    with pytest.raises(ShapeError, match="statistics of 2 channels"):
        One(TEXT, X).forward(X[:, :1])
