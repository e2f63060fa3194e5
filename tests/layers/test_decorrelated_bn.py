from __future__ import annotations

import logging
import re
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.layers.decorrelated_bn import DecorrelatedBN
from tests.layers.helpers import One

CATALOGUE = {
    "DecorrelatedBN": [
        ("decorrelated_bn_param { group: 2 eps: 0.01 }",),
        ("decorrelated_bn_param { scale_bias: false eps: 0.1 average: CAFFE }", ((9, 3),)),
        ("decorrelated_bn_param { group: 3 eps: 0.01 scale_filler { value: 2 } decay: 0.5 }", ((4, 6, 5),)),
    ]
}
ARRAY_CODE = {"DecorrelatedBN": "eigenvalues have no kernels of ours"}
RNG = np.random.default_rng(1)
MIX = RNG.standard_normal((4, 4))
X = np.einsum("cd,ndhw->nchw", MIX, RNG.standard_normal((6, 4, 2, 3))) + np.arange(4).reshape(4, 1, 1)
GAUSSIAN = 'scale_filler { type: "gaussian" } bias_filler { type: "gaussian" }'


def text(settings: str = "") -> str:
    return f'type: "DecorrelatedBN" decorrelated_bn_param {{ {settings} }}'


def rows(x: Any) -> Any:
    """(channels, values)."""
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


def whitened(values: Any, mean: Any, cov: Any) -> Any:
    """By another way to the root: the singular values of S, here S^(-1/2) = U diag(s^(-1/2)) U^T."""
    u, s, _ = np.linalg.svd(cov)
    return u @ np.diag(s**-0.5) @ u.T @ (values - mean[:, None])


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("group", [1, 2, 4])
def test_values(group: int, in_place: bool) -> None:
    y = One(text(f"group: {group} eps: 0.001 scale_bias: false"), X, dtype=np.float64, in_place=in_place).forward()
    for part in np.split(np.arange(4), group):
        values = rows(X)[part]
        cov = np.cov(values, bias=True).reshape(len(part), -1) + np.float32(0.001) * np.eye(len(part))
        np.testing.assert_allclose(rows(y)[part], whitened(values, values.mean(1), cov), rtol=1e-8, atol=1e-10)


def test_channels_come_out_uncorrelated_and_as_near_to_the_input_as_can_be() -> None:
    y = One(text("eps: 1e-9 scale_bias: false"), X, dtype=np.float64).forward()
    np.testing.assert_allclose(np.cov(rows(y), bias=True), np.eye(4), atol=1e-6)
    cross = rows(y) @ (rows(X) - rows(X).mean(1, keepdims=True)).T  # ZCA: symmetric, positive
    np.testing.assert_allclose(cross, cross.T, atol=1e-6)
    assert np.linalg.eigvalsh(cross).min() > 0


def test_with_a_group_for_each_channel_it_is_batch_normalisation() -> None:
    one, bn = One(text("group: 4"), X, dtype=np.float64), One('type: "BN"', X, dtype=np.float64)
    dy = RNG.standard_normal(X.shape)
    np.testing.assert_allclose(one.forward(), bn.forward(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.backward(dy), bn.backward(dy), rtol=1e-9, atol=1e-12)
    for mine, theirs in ((0, 2), (1, 3), (2, 4)):
        np.testing.assert_allclose(one.blobs[mine].ravel(), bn.blobs[theirs], rtol=1e-9)
    for mine, theirs in ((3, 0), (4, 1)):
        np.testing.assert_allclose(one.layer.blobs[mine].diff, bn.layer.blobs[theirs].diff, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("affine", ["true", "false"])
@pytest.mark.parametrize(("shape", "group"), [((7,), 1), ((9, 4), 1), ((5, 4, 3), 2), ((4, 6, 2, 2), 2)])
def test_gradient(shape: tuple[int, ...], group: int, affine: str, in_place: bool) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    setting = text(f"group: {group} eps: 0.1 scale_bias: {affine} {GAUSSIAN}")
    channels = shape[1] if len(shape) > 1 else 1
    assert check_gradient(setting, [x], in_place=in_place) == x.size + (2 * channels if affine == "true" else 0)


def test_gradient_where_eigenvalues_are_equal() -> None:
    """The formula with a difference of eigenvalues in the denominator would divide by 0 here."""
    x = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])  # its covariance is the identity
    check_gradient(text("eps: 0.1"), [x])


def test_wide_groups() -> None:
    x = np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    one, exact = One(text(), x), One(text(), x, dtype=np.float64)
    np.testing.assert_allclose(one.forward(), exact.forward(), atol=1e-4)
    np.testing.assert_allclose(one.backward(x), exact.backward(x), atol=1e-4)


@pytest.mark.parametrize("rule", ["CAFFE", "EMA", "CUMULATIVE", "LATEST"])
def test_test_whitens_by_the_running_average(rule: str) -> None:
    one = One(text(f"average: {rule} decay: 0.75 scale_bias: false"), X, dtype=np.float64)
    batches = [X * scale + scale for scale in (1, 2, 4)]
    for batch in batches:
        one.forward(batch)
    assert isinstance(one.layer, DecorrelatedBN)
    mean, cov = one.layer.running()
    old, new = {"CAFFE": (0.75, 1), "EMA": (0.75, 1), "CUMULATIVE": (1, 1), "LATEST": (0.25, 1)}[rule]
    weights = np.array([old**2 * new, old * new, new])
    weights = weights / weights.sum()
    unbiased = 36 / 35 if rule == "CAFFE" else 1
    np.testing.assert_allclose(mean, sum(w * rows(b).mean(1) for w, b in zip(weights, batches, strict=True)))
    expected = sum(w * np.cov(rows(b), bias=True) * unbiased for w, b in zip(weights, batches, strict=True))
    np.testing.assert_allclose(cov[0], expected)
    one.layer.phase = TEST
    before = [blob.copy() for blob in one.blobs]
    y = one.forward(X)
    regular = expected + np.float32(1e-5) * np.eye(4)
    np.testing.assert_allclose(rows(y), whitened(rows(X), mean, regular), rtol=1e-6, atol=1e-9)
    for blob, value in zip(one.blobs, before, strict=True):
        np.testing.assert_array_equal(blob, value)
    dy = RNG.standard_normal(X.shape)
    np.testing.assert_allclose(rows(one.backward(dy)), whitened(rows(dy), np.zeros(4), regular), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("in_place", [False, True])
def test_gradient_in_test(in_place: bool) -> None:
    check_gradient(text(f"eps: 0.5 {GAUSSIAN}"), [X], phase=TEST, in_place=in_place)


def test_a_constant_batch_gives_beta() -> None:
    one = One(text("bias_filler { value: 3 }"), np.full((6, 3), 7.0))
    np.testing.assert_array_equal(one.forward(), 3)
    assert np.isfinite(one.backward(np.ones((6, 3)))).all()


def test_nan_reaches_the_whole_group_and_no_other() -> None:
    x = X.copy()
    x[0, 0, 0, 0] = np.nan
    one = One(text("group: 2"), x)
    y = one.forward()
    assert np.isnan(y[:, :2]).all()
    assert np.isfinite(y[:, 2:]).all()
    dx = one.backward(np.ones_like(x))
    assert np.isnan(dx[:, :2]).all()
    assert np.isfinite(dx[:, 2:]).all()


def test_fewer_values_than_channels_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dragon"):
        one = One(text(), np.ones((4, 4)))
        one.forward()
        one.forward()
        One(text("group: 2"), np.ones((4, 4))).forward()
        One(text(), np.ones((4, 4)), phase=TEST).forward()
    assert caplog.messages == [
        'layer "one" (DecorrelatedBN): 4 values for each of the 4 channels of a group: their covariance is singular; '
        "take a larger batch or more groups"
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("eps: 0", "eps must be greater than 0, got 0"),
        ("eps: nan", "eps must be a finite number, got nan"),
        ("decay: 1.5", "decay must be between 0 and 1, got 1.5"),
        ("group: 3", "group must divide the 4 channels, got 3"),
        ("group: 0", "group must divide the 4 channels, got 0"),
    ],
)
def test_messages(setting: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=re.escape(message)):
        One(text(setting), X)


def test_shapes() -> None:
    with pytest.raises(ShapeError, match="has statistics of 4 channels"):
        One(text(), X).forward(X[:, :2])
    for phase in (TRAIN, TEST):
        one = One(text(), X, phase=phase)
        assert one.forward(X[:0]).shape == one.backward(X[:0]).shape == (0, 4, 2, 3)
        assert not any(blob.any() for blob in one.blobs[:3])
    with pytest.raises(ShapeError, match="at least 1 axis"):
        One(text(), 1.0)
