"""LayerNorm, GroupNorm, InstanceNorm and Normalize against loops over rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

X = np.random.default_rng(1).standard_normal((2, 4, 3, 2)) + 0.5
FILL = 'scale_filler { type: "gaussian" mean: 1 } bias_filler { type: "gaussian" }'
# text: rows and values in each, shape of the scale (None: nothing is learned), shape in which it is laid
CASES: dict[str, tuple[int, tuple[int, ...] | None, tuple[int, ...]]] = {
    f'type: "LayerNorm" layer_norm_param {{ {FILL} }}': (2, (4, 3, 2), (1, 4, 3, 2)),
    f'type: "LayerNorm" layer_norm_param {{ axis: -1 {FILL} }}': (24, (2,), (1, 1, 1, 2)),
    'type: "LayerNorm" layer_norm_param { axis: 2 scale_bias: false }': (8, None, ()),
    f'type: "GroupNorm" group_norm_param {{ num_groups: 2 {FILL} }}': (4, (4,), (1, 4, 1, 1)),
    'type: "GroupNorm" group_norm_param { num_groups: 4 scale_bias: false eps: 0.1 }': (8, None, ()),
    'type: "InstanceNorm"': (8, None, ()),
    'type: "InstanceNorm" instance_norm_param { eps: 0.1 scale_bias: true }': (8, (4,), (1, 4, 1, 1)),
    f'type: "InstanceNorm" instance_norm_param {{ {FILL} }}': (8, (4,), (1, 4, 1, 1)),
}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("text", CASES)
def test_value_and_gradient(text: str, in_place: bool) -> None:
    rows, shape, laid = CASES[text]
    one = One(text, X, dtype=np.float64, in_place=in_place)
    y = one.forward()
    eps = 0.1 if "eps" in text else 1e-5
    expected = np.empty((rows, X.size // rows))
    for row, values in zip(expected, X.reshape(rows, -1), strict=True):
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        row[...] = (values - mean) / math.sqrt(var + eps)
    whole = expected.reshape(X.shape)
    if shape is None:
        assert not one.blobs
    else:
        assert [blob.shape for blob in one.blobs] == [shape, shape]
        whole = whole * one.blobs[0].reshape(laid) + one.blobs[1].reshape(laid)
    np.testing.assert_allclose(y, whole, rtol=1e-6, atol=1e-8)
    check_gradient(text, [X], in_place=in_place)


@pytest.mark.parametrize("across", ["true", "false"])
@pytest.mark.parametrize("shared", ["true", "false"])
@pytest.mark.parametrize("in_place", [False, True])
def test_normalize(across: str, shared: str, in_place: bool) -> None:
    text = (
        f'type: "Normalize" norm_param {{ across_spatial: {across} channel_shared: {shared} eps: 0.01 '
        'scale_filler { type: "gaussian" mean: 20 } }'
    )
    one = One(text, X, dtype=np.float64, in_place=in_place)
    y = one.forward()
    scale = np.broadcast_to(one.blobs[0], 4)
    for n, c, i, j in np.ndindex(*X.shape):
        values = X[n] if across == "true" else X[n, :, i, j]
        norm = math.sqrt((values**2).sum() + 0.01)
        assert y[n, c, i, j] == pytest.approx(scale[c] * X[n, c, i, j] / norm, rel=1e-6)
    check_gradient(text, [X], in_place=in_place)


def test_normalize_starts_at_one() -> None:
    assert One('type: "Normalize"', X).blobs[0].tolist() == 1
    assert One('type: "Normalize" norm_param { channel_shared: false }', X).blobs[0].tolist() == [1] * 4


def test_messages() -> None:
    with pytest.raises(ShapeError, match="3 groups must divide the channels"):
        One('type: "GroupNorm" group_norm_param { num_groups: 3 }', X)
    with pytest.raises(PrototxtError, match="num_groups must be at least 1"):
        One('type: "GroupNorm" group_norm_param { num_groups: 0 }', X)
    with pytest.raises(PrototxtError, match="eps must not be negative"):
        One('type: "LayerNorm" layer_norm_param { eps: -1 }', X)
    with pytest.raises(ShapeError, match="has a scale of shape"):
        One('type: "LayerNorm"', X).forward(X[:, :3])
