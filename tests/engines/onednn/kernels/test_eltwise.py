"""Element-wise functions and PReLU: value, gradient from the source, gradient from the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.engines.onednn.kernels import eltwise
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from tests.engines.onednn.running import Array, close, fetch, load, rounded, run

SHAPE = (3, 20, 4, 5)
Function = Callable[[Array], NDArray[Any]]


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


CASES: dict[str, tuple[Alg, float, float, Function, Function]] = {
    "relu": (Alg.eltwise_relu, 0, 0, lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "leaky": (Alg.eltwise_relu, 0.1, 0, lambda x: np.where(x > 0, x, x / 10), lambda x: np.where(x > 0, 1, 0.1)),
    "tanh": (Alg.eltwise_tanh, 0, 0, np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "elu": (
        Alg.eltwise_elu,
        0.7,
        0,
        lambda x: np.where(x > 0, x, 0.7 * np.expm1(x)),
        lambda x: np.where(x > 0, 1, 0.7 * np.exp(x)),
    ),
    "square": (Alg.eltwise_square, 0, 0, lambda x: x * x, lambda x: 2 * x),
    "abs": (Alg.eltwise_abs, 0, 0, np.abs, np.sign),
    "linear": (Alg.eltwise_linear, 3, -1, lambda x: 3 * x - 1, lambda x: np.full_like(x, 3)),
    "bnll": (Alg.eltwise_soft_relu, 1, 0, lambda x: np.logaddexp(0, x), sigmoid),
    "sigmoid": (Alg.eltwise_logistic, 0, 0, sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "exp": (Alg.eltwise_exp, 0, 0, np.exp, np.exp),
    "swish": (
        Alg.eltwise_swish,
        1.5,
        0,
        lambda x: x * sigmoid(1.5 * x),
        lambda x: sigmoid(1.5 * x) + 1.5 * x * sigmoid(1.5 * x) * sigmoid(-1.5 * x),
    ),
    "clip": (Alg.eltwise_clip, -0.5, 1, lambda x: x.clip(-0.5, 1), lambda x: ((x > -0.5) & (x < 1)) * 1.0),
    "log": (Alg.eltwise_log, 0, 0, np.log, lambda x: 1 / x),
    "sqrt": (Alg.eltwise_sqrt, 0, 0, np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "power": (Alg.eltwise_pow, 2, 1.5, lambda x: 2 * x**1.5, lambda x: 3 * x**0.5),
}
POSITIVE = {"log", "sqrt", "power"}
FROM_RESULT = [name for name in CASES if CASES[name][0] in eltwise.USES_DST]


def source(name: str, dtype: DataType) -> Array:
    """Values off every kink."""
    x = np.random.default_rng(6).standard_normal(SHAPE)
    x = np.where(np.abs(x) < 0.05, 0.3, x)
    x = np.where(np.abs(x + 0.5) < 0.05, 0.3, np.where(np.abs(x - 1) < 0.05, 0.3, x))
    return rounded(np.abs(x) + 0.1 if name in POSITIVE else x, dtype)


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(device: Device, name: str, dtype: DataType) -> None:
    alg, alpha, beta, value, slope = CASES[name]
    x = source(name, dtype)
    dy = rounded(np.random.default_rng(8).standard_normal(SHAPE), dtype)
    forward = eltwise.forward(device, alg, MemoryDesc.plain(SHAPE, dtype), alpha, beta)
    close(fetch(run(forward, {Arg.SRC: x})[Arg.DST]), value(x), dtype, scale=4)
    backward = eltwise.backward(device, alg, forward, forward[Arg.SRC], alpha, beta)
    got = run(backward, {Arg.SRC: x, Arg.DIFF_DST: dy})
    close(fetch(got[Arg.DIFF_SRC]), dy * slope(x), dtype, scale=4)


@pytest.mark.parametrize("name", FROM_RESULT)
def test_in_place_with_gradient_from_the_result(device: Device, name: str) -> None:
    alg, alpha, beta, value, slope = CASES[name]
    x = source(name, DataType.f32)
    desc = MemoryDesc.plain(SHAPE)
    after = eltwise.USES_DST[alg]
    forward = eltwise.forward(device, alg, desc, alpha, beta)
    data = load(device, desc, x)
    run(forward, {Arg.SRC: data}, {Arg.DST: data})
    close(fetch(data), value(x), scale=4)
    diff: Memory = load(device, desc, np.ones(SHAPE))
    hint = eltwise.forward(device, after, desc, alpha, beta)
    backward = eltwise.backward(device, after, hint, desc, alpha, beta)
    run(backward, {Arg.DST: data, Arg.DIFF_DST: diff}, {Arg.DIFF_SRC: diff})
    close(fetch(diff), slope(x), scale=4)


@pytest.mark.parametrize("dtype", [DataType.f32, DataType.bf16], ids=lambda t: t.name)
@pytest.mark.parametrize("slopes", [(1, 20, 1, 1), (1, 1, 1, 1)], ids=["channel", "shared"])
def test_prelu(device: Device, slopes: tuple[int, ...], dtype: DataType) -> None:
    x = source("relu", dtype)
    rng = np.random.default_rng(2)
    w, dy = rng.uniform(0.1, 0.5, slopes), rounded(rng.standard_normal(SHAPE), dtype)
    data, weights = MemoryDesc.plain(SHAPE, dtype), MemoryDesc.plain(slopes)
    forward = eltwise.prelu_forward(device, data, weights)
    out = run(forward, {Arg.SRC: x, Arg.WEIGHTS: w})
    close(fetch(out[Arg.DST]), np.where(x > 0, x, w * x), dtype)
    backward = eltwise.prelu_backward(device, forward, data, weights)
    got = run(backward, {Arg.SRC: x, Arg.WEIGHTS: w, Arg.DIFF_DST: dy})
    close(fetch(got[Arg.DIFF_SRC]), np.where(x > 0, dy, w * dy), dtype)
    axes = tuple(i for i, n in enumerate(slopes) if n == 1)
    close(fetch(got[Arg.DIFF_WEIGHTS]), np.where(x > 0, 0, x * dy).sum(axes, keepdims=True), dtype)
