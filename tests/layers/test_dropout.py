from __future__ import annotations

import logging

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.errors import PrototxtError
from dragon.gradient import check_gradient
from dragon.rng import Stream
from tests.layers.helpers import One

X = np.random.default_rng(0).standard_normal((20, 30)) + 5
HALF = 'name: "drop" type: "Dropout"'


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("phase", [0, TEST])
@pytest.mark.parametrize("ratio", [0, 0.3])
def test_gradient(ratio: float, phase: int, in_place: bool) -> None:
    text = f"{HALF} dropout_param {{ dropout_ratio: {ratio} }}"
    check_gradient(text, [X[:4, :5]], phase=phase, in_place=in_place)


def test_keeps_by_the_stream_and_scales() -> None:
    one = One(f"{HALF} dropout_param {{ dropout_ratio: 0.25 }}", X, seed=9)
    words = Stream(9, "drop").raw32(X.size).reshape(X.shape)
    expected = np.where(words >= 2**30, X.astype(np.float32) / np.float32(0.75), 0)
    np.testing.assert_allclose(one.forward(), expected, rtol=1e-6)
    assert 0.2 < (one.top[0].data == 0).mean() < 0.3


def test_the_stream_is_the_whole_state() -> None:
    one, other = One(HALF, X), One(HALF, X)
    first, second = one.forward().copy(), one.forward().copy()
    assert (first != second).any()
    other.layer.rng.draws = 1
    np.testing.assert_array_equal(other.forward(), second)
    assert one.layer.rng.draws == other.layer.rng.draws == 2


def test_copies_in_test() -> None:
    one = One(HALF, X, phase=TEST)
    np.testing.assert_array_equal(one.forward(), X.astype(np.float32))
    assert one.layer.rng.draws == 0


@pytest.mark.parametrize("ratio", [1, -0.5])
def test_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(PrototxtError, match="dropout_ratio must be at least 0 and less than 1"):
        One(f"{HALF} dropout_param {{ dropout_ratio: {ratio} }}", X)


@pytest.mark.parametrize("phase", [0, TEST])
@pytest.mark.parametrize("in_place", [False, True])
def test_gradient_where_test_scales(phase: int, in_place: bool) -> None:
    text = f"{HALF} dropout_param {{ dropout_ratio: 0.3 scale_train: false }}"
    check_gradient(text, [X[:4, :5]], phase=phase, in_place=in_place)


def test_test_scales_where_train_does_not() -> None:
    text = f"{HALF} dropout_param {{ dropout_ratio: 0.25 scale_train: false }}"
    trained = One(text, X).forward()
    kept = trained != 0
    np.testing.assert_array_equal(trained[kept], X.astype(np.float32)[kept])
    assert 0.2 < 1 - kept.mean() < 0.3
    np.testing.assert_allclose(One(text, X, phase=TEST).forward(), X * 0.75, rtol=1e-6)


def test_a_ratio_of_one_can_be_tested(caplog: pytest.LogCaptureFixture) -> None:
    text = f"{HALF} dropout_param {{ dropout_ratio: 1 }}"
    with caplog.at_level(logging.WARNING, "dragon"):
        np.testing.assert_allclose(One(text, X, phase=TEST).forward(), X, rtol=1e-6)
    assert caplog.messages == ['layer "drop" (Dropout): dropout_ratio is 1, which can be tested but not trained']
    with pytest.raises(PrototxtError, match="less than 1, got 1"):
        One(text, X)
