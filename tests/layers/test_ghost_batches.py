"""BatchNorm and BN with `ghost_batch`: each group of items is normalised by its own statistics (Hoffer et al. 2017)."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from dragon.bases.batch_statistics import BatchStatistics
from dragon.bases.layer import TEST, TRAIN, Context, create
from dragon.gradient import check_gradient
from dragon.proto import dragon_pb2 as pb
from tests.layers.helpers import One

X = np.random.default_rng(0).standard_normal((7, 3, 2, 2)) * 2 + np.arange(7).reshape(7, 1, 1, 1)
KINDS = {
    "split": 'type: "BatchNorm" batch_norm_param {{ {} }}',
    "affine": 'type: "BatchNorm" batch_norm_param {{ scale_bias: true scale_filler {{ type: "gaussian" }} {} }}',
    "merged": 'type: "BN" batch_norm_param {{ scale_filler {{ type: "gaussian" }} {} }}',
}
GROUPS = [slice(0, 3), slice(3, 6), slice(6, 7)]  # of 7 items by threes


def running(one: One) -> Any:
    assert isinstance(one.layer, BatchStatistics)
    return one.layer.running()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_batches_of_their_own(kind: str, in_place: bool) -> None:
    """Values, gradients and averages are those of an ordinary layer that is given the groups one after the other."""
    ghost = One(KINDS[kind].format("ghost_batch: 3"), X, dtype=np.float64, in_place=in_place)
    plain = One(KINDS[kind].format(""), X[:3], dtype=np.float64)
    dy = np.random.default_rng(1).standard_normal(X.shape)
    y = ghost.forward(X).copy()
    dx = ghost.backward(dy)
    for group in GROUPS:
        np.testing.assert_allclose(y[group], plain.forward(X[group]), rtol=1e-12)
        np.testing.assert_allclose(dx[group], plain.backward(dy[group]), rtol=1e-12)
    for mine, theirs in zip(ghost.layer.blobs, plain.layer.blobs, strict=True):
        np.testing.assert_allclose(mine.data, theirs.data, rtol=1e-12)
        np.testing.assert_allclose(mine.diff, theirs.diff, rtol=1e-12)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("through", ["true", "false"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind: str, through: str, in_place: bool) -> None:
    """Where statistics are constants of the gradient only gamma and beta can be compared with differences."""
    param = pb.LayerParameter()
    text_format.Parse(KINDS[kind].format(f"ghost_batch: 3 gradient_through_statistics: {through}"), param)
    layer = create(param, TRAIN, Context(dtype=np.float64, seed=1))
    if through == "false":
        layer.can_propagate = lambda index: False  # type: ignore[method-assign]
    compared = check_gradient(layer, [X], in_place=in_place, tolerance=1e-5)
    assert compared == (X.size if through == "true" else 0) + (0 if kind == "split" else 6)


def test_hoffers_running_average() -> None:
    """With decay f and k groups, r = f^k r + the sum over i of f^(k - i) (1 - f) group i."""
    one = One('type: "BN" batch_norm_param { ghost_batch: 2 decay: 0.75 }', X[:6], dtype=np.float64)
    one.blobs[2][...], one.blobs[3][...], one.blobs[4][...] = 5, 2, 1
    one.forward()
    means = [X[i : i + 2].mean((0, 2, 3)) for i in (0, 2, 4)]
    expected = 0.75**3 * 5 + 0.25 * (0.75**2 * means[0] + 0.75 * means[1] + means[2])
    np.testing.assert_allclose(running(one)[0], expected, rtol=1e-12)


def test_test_and_running_statistics_know_no_groups() -> None:
    for phase, setting in ((TEST, ""), (TRAIN, "use_global_stats: true")):
        ghost = One(KINDS["merged"].format(f"ghost_batch: 3 {setting}"), X, phase=phase, dtype=np.float64)
        plain = One(KINDS["merged"].format(setting), X, phase=phase, dtype=np.float64)
        for one in (ghost, plain):
            one.blobs[2][...], one.blobs[3][...] = 1, 4
        np.testing.assert_array_equal(ghost.forward(), plain.forward())
        np.testing.assert_array_equal(ghost.backward(X), plain.backward(X))


def test_a_group_as_large_as_the_batch_changes_nothing() -> None:
    for size in (7, 100):
        one, plain = (One(KINDS["merged"].format(s), X) for s in (f"ghost_batch: {size}", ""))
        np.testing.assert_array_equal(one.forward(), plain.forward())
        np.testing.assert_array_equal(one.backward(X), plain.backward(X))


def test_a_last_group_of_one_value_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dragon"):
        One('type: "BN" batch_norm_param { ghost_batch: 3 }', X[:, :, 0, 0]).forward()
    assert caplog.messages == ['layer "one" (BN): one value per channel: the variance of the batch is 0']
