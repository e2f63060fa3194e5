"""RNN, LSTM and LSTMUnit against loops over steps, sequences and units; states from batch to batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(7)
T, N, INPUTS, S, D = 4, 2, 3, 2, 3
X = RNG.standard_normal((T, N, INPUTS))
STATIC = RNG.standard_normal((N, S))
CONT = np.array([[0, 0], [1, 1], [1, 0], [1, 1]])
STATES = RNG.standard_normal((2, 1, N, D))
FILL = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" std: 0.5 }'


def text(kind: str, more: str = "") -> str:
    return f'type: "{kind}" recurrent_param {{ num_output: {D} {FILL} {more} }}'


def logistic(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def expected(kind: str, blobs: list[Any], static: Any, cont: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
    """Outputs and last states, unit by unit."""
    w_x, b = blobs[0], blobs[1]
    rest = blobs[3:] if static is not None else blobs[2:]
    y, h, c = np.zeros((T, N, D)), h.copy(), c.copy()
    for t in range(T):
        for n in range(N):
            sums = w_x @ X[t, n] + b + rest[0] @ (h[n] * cont[t, n])
            if static is not None:
                sums = sums + blobs[2] @ static[n]
            for d in range(D):
                if kind == "LSTM":
                    i, f, o = (logistic(sums[k * D + d]) for k in range(3))
                    c[n, d] = cont[t, n] * f * c[n, d] + i * math.tanh(sums[3 * D + d])
                    h[n, d] = y[t, n, d] = o * math.tanh(c[n, d])
                else:
                    h[n, d] = math.tanh(sums[d])
            if kind == "RNN":
                y[t, n] = np.tanh(rest[1] @ h[n] + rest[2])
    return y, h, c


@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_value_and_gradient(kind: str, static: bool, exposed: bool) -> None:
    states = list(STATES[: 2 if kind == "LSTM" else 1]) if exposed else []
    cont = CONT | 1 if exposed else CONT  # so that the first states count
    bottom = [X, cont, *([STATIC] if static else []), *states]
    full = text(kind, "expose_hidden: true" if exposed else "")
    one = One(full, *bottom, n_top=1 + len(states), dtype=np.float64)
    one.forward()
    zero = np.zeros((N, D))
    first = [state[0] for state in states]
    y, h, c = expected(
        kind,
        one.blobs,
        STATIC if static else None,
        cont,
        first[0] if exposed else zero,
        first[1] if len(first) > 1 else zero,
    )
    for blob, value in zip(one.top, [y, h[None], c[None]], strict=False):
        np.testing.assert_allclose(blob.data, value, atol=1e-12)
    check_gradient(full, bottom, n_top=1 + len(states), most=40)


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("LSTM", [(12, 3), (12,), (12, 2), (12, 3)]),
        ("RNN", [(3, 3), (3,), (3, 2), (3, 3), (3, 3), (3,)]),
    ],
)
def test_blobs_are_caffes(kind: str, shapes: list[tuple[int, ...]]) -> None:
    one = One(text(kind), X, CONT, STATIC)
    assert [blob.shape for blob in one.layer.blobs] == shapes


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_state_lives_from_batch_to_batch(kind: str) -> None:
    """Two halves, one after the other, are the whole; a state that is saved and loaded goes on the same."""
    whole = One(text(kind), X, CONT | 1)
    halves = One(text(kind), X[:2], CONT[:2] | 1)
    y = whole.forward()
    first = halves.forward().copy()
    saved = halves.layer.state()
    second = halves.forward(X[2:], CONT[2:] | 1).copy()
    np.testing.assert_allclose(np.concatenate([first, second]), y, atol=1e-6)
    other = One(text(kind), X[2:], CONT[2:] | 1)
    other.layer.load_state(saved)
    np.testing.assert_array_equal(other.forward(), second)
    # without the state the second half is another
    assert np.abs(One(text(kind), X[2:], CONT[2:] | 1).forward() - second).max() > 1e-3


def test_debug_info_logs_the_state(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "dragon"):
        One(text("LSTM", "debug_info: true"), X, CONT).forward()
    assert "mean absolute value of the last state: h 0." in caplog.text


def test_lstm_unit() -> None:
    c_prev, gates, cont = RNG.standard_normal((1, N, D)), RNG.standard_normal((1, N, 4 * D)), [[1, 0]]
    one = One('type: "LSTMUnit"', c_prev, gates, cont, n_top=2)
    one.forward()
    for n, d in np.ndindex(N, D):
        i, f, o = (logistic(gates[0, n, k * D + d]) for k in range(3))
        c = cont[0][n] * f * c_prev[0, n, d] + i * math.tanh(gates[0, n, 3 * D + d])
        assert one.top[0].data[0, n, d] == pytest.approx(c, rel=1e-5)
        assert one.top[1].data[0, n, d] == pytest.approx(o * math.tanh(c), rel=1e-5)
    check_gradient('type: "LSTMUnit"', [c_prev, gates, cont], n_top=2)


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="num_output must be at least 1"):
        One('type: "RNN"', X, CONT)
    with pytest.raises(PrototxtError, match="takes 4 bottoms, or 5 with a static input, got 2"):
        One(text("LSTM", "expose_hidden: true"), X, CONT, n_top=3)
    with pytest.raises(PrototxtError, match="takes 1 top, got 2"):
        One(text("RNN"), X, CONT, n_top=2)
    with pytest.raises(ShapeError, match=r"bottom 1 says where sequences go on: expected shape \(4, 2\), got \(4,\)"):
        One(text("RNN"), X, CONT[:, 0])
    with pytest.raises(ShapeError, match="the static input must hold 2 x 2 values"):
        One(text("RNN"), X, CONT, STATIC).forward(X, CONT, np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"state c to begin with must have shape \(1, 2, 3\)"):
        One(text("LSTM", "expose_hidden: true"), X, CONT, STATES[0], STATES[1][:, :1], n_top=3)
    with pytest.raises(ShapeError, match=r"bottom 1: expected shape \(1, 2, 12\), got \(1, 2, 3\)"):
        One('type: "LSTMUnit"', STATES[0], STATES[0], [[1, 1]], n_top=2)
