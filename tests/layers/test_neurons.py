"""All element-wise layers: values against a scalar formula, gradients in place and not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from dragon.errors import PrototxtError
from dragon.gradient import check_gradient
from dragon.memory.storage import Array
from tests.layers.helpers import One

X = np.random.default_rng(5).standard_normal((2, 3, 4)) * 2
POSITIVE = np.abs(X) + 0.1


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


CASES: dict[str, tuple[Callable[[float], float], bool]] = {
    # text: formula, whether it needs positive numbers
    'type: "Sigmoid"': (logistic, False),
    'type: "TanH"': (math.tanh, False),
    'type: "AbsVal"': (abs, False),
    'type: "BNLL"': (lambda x: math.log(1 + math.exp(x)), False),
    'type: "ReLU"': (lambda x: max(x, 0.0), False),
    'type: "ReLU" relu_param { relu6: true negative_slope: 0.1 }': (lambda x: min(x if x > 0 else 0.1 * x, 6), False),
    'type: "ReLU" relu_param { negative_slope: -0.5 }': (lambda x: x if x > 0 else -0.5 * x, False),
    'type: "ReLU6" relu6_param { negative_slope: -0.2 }': (lambda x: min(x if x > 0 else -0.2 * x, 6), False),
    'type: "ReLU6"': (lambda x: min(max(x, 0.0), 6.0), False),
    'type: "ReLU6" relu6_param { negative_slope: 0.2 }': (lambda x: min(x if x > 0 else 0.2 * x, 6), False),
    'type: "Clip" clip_param { min: -1.5 max: 0.5 }': (lambda x: min(max(x, -1.5), 0.5), False),
    'type: "ELU"': (lambda x: x if x > 0 else math.exp(x) - 1, False),
    'type: "ELU" elu_param { alpha: 0.3 }': (lambda x: x if x > 0 else 0.3 * (math.exp(x) - 1), False),
    'type: "ELU" elu_param { alpha: -0.7 }': (lambda x: x if x > 0 else -0.7 * (math.exp(x) - 1), False),
    'type: "Softplus"': (lambda x: math.log1p(math.exp(x)), False),
    'type: "Exp"': (math.exp, False),
    'type: "Exp" exp_param { base: 2 scale: 0.5 shift: 1 }': (lambda x: 2 ** (0.5 * x + 1), False),
    'type: "Exp" exp_param { scale: -1 shift: 0.5 }': (lambda x: math.exp(0.5 - x), False),
    'type: "Log"': (math.log, True),
    'type: "Log" log_param { base: 10 scale: 2 shift: 1 }': (lambda x: math.log10(2 * x + 1), True),
    'type: "Power"': (lambda x: x, False),
    'type: "Power" power_param { power: 2 scale: 0.5 shift: -1 }': (lambda x: (0.5 * x - 1) ** 2, False),
    'type: "Power" power_param { power: 0.5 shift: 1 }': (lambda x: math.sqrt(x + 1), True),
    'type: "Power" power_param { power: 0 }': (lambda x: 1.0, False),
    'type: "Power" power_param { power: -1 }': (lambda x: 1 / x, True),
    'type: "Swish"': (lambda x: x * logistic(x), False),
    'type: "Swish" swish_param { beta: 2 }': (lambda x: x * logistic(2 * x), False),
    'type: "HardSigmoid"': (lambda x: min(max(x / 6 + 0.5, 0), 1), False),
    'type: "HardSwish"': (lambda x: x * min(max(x / 6 + 0.5, 0), 1), False),
}


def point(positive: bool, text: str) -> Array:
    return POSITIVE if positive else X * (3 if "6" in text or "Hard" in text else 1)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("text", CASES)
def test_value(text: str, in_place: bool) -> None:
    formula, positive = CASES[text]
    x = point(positive, text)
    one = One(text, x, in_place=in_place)
    y = one.forward()
    assert y.dtype == np.float32
    # settings are stored as float32
    np.testing.assert_allclose(y, np.vectorize(formula, otypes=[float])(x), rtol=2e-5, atol=2e-6)
    if not in_place:
        np.testing.assert_array_equal(one.bottom[0].data, x.astype(np.float32))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("text", CASES)
def test_gradient(text: str, in_place: bool) -> None:
    check_gradient(text, [point(CASES[text][1], text)], in_place=in_place)


def test_sigmoid_does_not_overflow() -> None:
    y = One('type: "Sigmoid"', [-1e4, 1e4]).forward()
    assert y.tolist() == [0, 1]


def test_bnll_does_not_overflow() -> None:
    assert One('type: "BNLL"', [-1e4, 1e4]).forward().tolist() == [0, 1e4]


def test_relu6_stops_the_gradient_above() -> None:
    one = One('type: "ReLU6"', [-1.0, 1.0, 7.0], in_place=True)
    one.forward()
    assert one.backward([1, 1, 1]).tolist() == [0, 1, 0]


def test_backward_is_left_out_where_not_wanted() -> None:
    one = One('type: "Sigmoid"', X)
    one.forward()
    one.bottom[0].diff[...] = 7
    assert (one.backward(np.ones_like(X), propagate_down=[False]) == 7).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "Clip"', "needs clip_param"),
        ('type: "Clip" clip_param { min: 2 max: 1 }', "min must not exceed max, got 2 and 1"),
        ('type: "Exp" exp_param { base: 0 }', "base must be positive, or -1 for e, got 0"),
        ('type: "Log" log_param { base: 1 }', "base must be positive and not 1, or -1 for e, got 1"),
        ('type: "Log" log_param { base: -2 }', "base must be positive and not 1"),
    ],
)
def test_settings_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        One(text, X)
