"""SmoothL1LossOHEM and SoftmaxWithLossOHEM: the loss of each region, against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "SmoothL1LossOHEM": [
        ("", ((3, 8), (3, 8))),
        (
            "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 128 }",
            ((3, 8, 1, 1), (3, 8, 1, 1), "weights of targets"),
            2,
        ),
    ],
    "SoftmaxWithLossOHEM": [("", ((3, 5), "labels")), ("loss_param { ignore_label: 1 }", ((3, 5), "labels"), 3)],
}
ARRAY_CODE = {"SmoothL1LossOHEM": "has no kernels yet"}
RNG = np.random.default_rng(2)
A, B = RNG.standard_normal((2, 4, 3, 2)) * 2
W = RNG.uniform(0, 2, (4, 3, 2))
LABELS = np.array([[0, 2], [1, 1], [2, 0], [1, 2]], float)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("settings", "divisor"),
    [("", 8), ("normalization: FULL", 8), ("normalization: BATCH_SIZE", 4), ("normalization: NONE", 1),
     ("normalization: PRE_FIXED pre_fixed_normalizer: 128", 128), ("normalize: false", 4)],
)  # fmt: skip
def test_smooth_l1(settings: str, divisor: float, weighted: bool) -> None:
    text = f'type: "SmoothL1LossOHEM" loss_param {{ {settings} }}'
    bottom = [A, B, *([W] if weighted else [])]
    one = One(text, *bottom, n_top=2, dtype=np.float64)
    loss = float(one.forward())
    each = np.zeros((4, 1, 2))
    for n, c, s in np.ndindex(*A.shape):
        d = abs((W[n, c, s] if weighted else 1) * (A[n, c, s] - B[n, c, s]))
        each[n, 0, s] += d * d / 2 if d < 1 else d - 0.5
    np.testing.assert_allclose(one.top[1].data, each)
    assert loss == pytest.approx(each.sum() / divisor)
    assert check_gradient(text, bottom) > 0


def test_softmax() -> None:
    text = 'type: "SoftmaxWithLossOHEM" loss_param { ignore_label: 1 }'
    one = One(text, A, LABELS, n_top=3, dtype=np.float64)
    loss = float(one.forward())
    each = np.zeros((4, 1, 2))
    for n, s in np.ndindex(4, 2):
        if LABELS[n, s] != 1:
            total = sum(math.exp(v) for v in A[n, :, s])
            each[n, 0, s] = math.log(total) - A[n, int(LABELS[n, s]), s]
    np.testing.assert_allclose(one.top[2].data, each)
    np.testing.assert_allclose(one.top[1].data.sum(axis=1), 1)
    assert loss == pytest.approx(each.sum() / (LABELS != 1).sum())
    assert check_gradient(text, [A, LABELS]) == A.size


def test_both_can_be_added() -> None:
    """As in R-FCN's nets: the losses of both kinds have one shape for each number of axes."""
    for tail in ((), (1, 1)):
        scores, offsets = np.zeros((5, 3, *tail)), np.zeros((5, 8, *tail))
        softmax = One('type: "SoftmaxWithLossOHEM"', scores, np.zeros(5), n_top=3)
        smooth = One('type: "SmoothL1LossOHEM"', offsets, np.zeros((5, 8)), np.zeros((5, 8)), n_top=2)
        assert softmax.top[2].shape == smooth.top[1].shape == (5, 1, *tail)


def test_shapes() -> None:
    with pytest.raises(ShapeError, match="at least 2 axes"):
        One('type: "SmoothL1LossOHEM"', np.zeros(3), np.zeros(3))
