"""Lstm of caffe-lstm against a loop over sequences, and against LSTM with the same weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

T, N, INPUTS, D = 4, 2, 3, 3
FILL = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" std: 0.5 }'
CATALOGUE = {
    "Lstm": [
        (f"lstm_param {{ num_output: 4 batch_size: 2 {FILL} }}", ((6, 5),)),
        (f"lstm_param {{ num_output: 4 clipping_threshold: 0.25 {FILL} }}", ((3, 5), "labels")),
        (f"lstm_param {{ num_output: 4 {FILL} }}", ((3, 2, 5),)),
        (f"lstm_param {{ num_output: 4 {FILL} }}", ((3, 2, 5), "cont")),
    ]
}
ARRAY_CODE = {"Lstm": "a loop over steps, as LSTM"}
RNG = np.random.default_rng(8)
X = RNG.standard_normal((T * N, INPUTS))
CLIP = np.array([0, 1, 1, 1, 1, 0, 1, 1.0])


def text(more: str = "") -> str:
    return f'type: "Lstm" lstm_param {{ num_output: {D} batch_size: {N} {FILL} {more} }}'


def logistic(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def expected(blobs: list[Any], x: Any, clip: Any, h: Any, c: Any) -> Any:
    """Outputs row by row: row t * N + n is step t of sequence n."""
    y = np.zeros((len(x), D))
    h, c = h.copy(), c.copy()
    for row in range(len(x)):
        n = row % N
        on = clip[row] != 0
        sums = blobs[0] @ x[row] + blobs[2] + (blobs[1] @ h[n] if on else 0)
        for d in range(D):
            i, f, o = (logistic(sums[k * D + d]) for k in range(3))
            c[n, d] = i * math.tanh(sums[3 * D + d]) + (f * c[n, d] if on else 0)
            y[row, d] = o * math.tanh(c[n, d])
        h[n] = y[row]
    return y


ZERO = np.zeros((N, D))


def test_without_clip_each_batch_begins_with_zeros() -> None:
    one = One(text(), X, dtype=np.float64)
    for _ in range(2):
        np.testing.assert_allclose(one.forward(), expected(one.blobs, X, np.ones(T * N), ZERO, ZERO))
    assert one.layer.state() == {}


def test_with_clip_the_state_lives_on() -> None:
    one = One(text(), X, CLIP, dtype=np.float64)
    np.testing.assert_allclose(one.forward(), expected(one.blobs, X, CLIP, ZERO, ZERO))
    half = One(text(), X[:N], np.ones(N), dtype=np.float64)
    whole = expected(half.blobs, X, np.ones(T * N), ZERO, ZERO)
    parts = [half.forward(X[N * t : N * (t + 1)], np.ones(N)).copy() for t in range(T)]
    np.testing.assert_allclose(np.concatenate(parts), whole)
    other = One(text(), X[:N], np.ones(N), dtype=np.float64)
    state = half.layer.state()
    other.layer.load_state(state)
    np.testing.assert_array_equal(other.forward(X[:N], np.ones(N)), half.forward(X[:N], np.ones(N)))


def test_gradient() -> None:
    check_gradient(text(), [X])
    check_gradient(text(), [X.reshape(T * N, 1, INPUTS, 1), CLIP * [0, 0, 1, 1, 1, 1, 1, 1]])


def test_it_is_lstm_with_the_same_weights() -> None:
    one = One(text(), X, CLIP, dtype=np.float64)
    other = One(
        f'type: "LSTM" recurrent_param {{ num_output: {D} }}',
        X.reshape(T, N, INPUTS),
        CLIP.reshape(T, N),
        dtype=np.float64,
    )
    for mine, theirs in zip((0, 2, 1), other.blobs, strict=True):
        theirs[...] = one.blobs[mine]
    np.testing.assert_allclose(one.forward().reshape(T, N, D), other.forward())


def test_gradients_of_gates_are_limited() -> None:
    limit = 1e-3
    one = One(text(f"clipping_threshold: {limit}"), X, dtype=np.float64)
    one.forward()
    one.top[0].diff[...] = 5
    one.layer.backward(one.top, [True], one.bottom)
    assert np.abs(one.layer.blobs[2].diff).max() <= limit * T * N * (1 + 1e-6)
    np.testing.assert_allclose(np.abs(one.layer.blobs[2].diff[2 * D :]).max(), limit * T * N)
    free = One(text(), X, dtype=np.float64)
    free.forward()
    free.top[0].diff[...] = 5
    free.layer.backward(free.top, [True], free.bottom)
    assert np.abs(free.layer.blobs[2].diff).max() > 100 * limit


@pytest.mark.parametrize(
    ("settings", "shapes", "message"),
    [
        ("num_output: 0", [(4, 3)], "num_output and batch_size must be at least 1, got 0 and 1"),
        ("num_output: 2 batch_size: 3", [(4, 3)], r"needs a bottom with a multiple of batch_size 3 rows of 3 values"),
        ("num_output: 2", [(4, 3), (3,)], r"bottom 1 says where sequences go on: expected 4 values, got \(3,\)"),
    ],
)
def test_messages(settings: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises((PrototxtError, ShapeError), match=message):
        One(f'type: "Lstm" lstm_param {{ {settings} }}', *map(np.zeros, shapes))


def test_another_width_is_an_error() -> None:
    one = One(text(), X)
    with pytest.raises(ShapeError, match=r"rows of 3 values, got shape \(8, 4\)"):
        one.forward(np.zeros((8, 4)))


def test_three_axes_have_the_batch_as_the_second() -> None:
    """As caffe_ocr has it, where batch_size is not set; the batch may change."""
    three = One(f'type: "Lstm" lstm_param {{ num_output: {D} {FILL} }}', X.reshape(T, N, INPUTS), dtype=np.float64)
    rows = One(text(), X, dtype=np.float64)
    assert [blob.shape for blob in three.blobs] == [blob.shape for blob in rows.blobs]
    y = three.forward().copy()
    assert y.shape == (T, N, D)
    np.testing.assert_allclose(y.reshape(T * N, D), expected(three.blobs, X, np.ones(T * N), ZERO, ZERO))
    np.testing.assert_array_equal(three.forward(X.reshape(T, N, INPUTS)[:, :1]), y[:, :1])
    check_gradient(f'type: "Lstm" lstm_param {{ num_output: {D} {FILL} }}', [X.reshape(T, N, INPUTS)])
    assert three.forward(np.zeros((T, 0, INPUTS))).shape == (T, 0, D)  # a batch of nothing
    assert three.backward(1.0).shape == (T, 0, INPUTS)
    with pytest.raises(ShapeError, match=r"needs a bottom of shape \(T, N, 3\), got shape \(4, 2, 2\)"):
        three.forward(np.zeros((T, N, 2)))


def test_with_batch_size_three_axes_are_rows() -> None:
    one = One(text(), X.reshape(T * N, INPUTS, 1), dtype=np.float64)
    np.testing.assert_allclose(one.forward(), expected(one.blobs, X, np.ones(T * N), ZERO, ZERO))
