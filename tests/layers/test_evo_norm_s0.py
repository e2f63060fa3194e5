from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "EvoNormS0": [
        ("evo_norm_s0_param { num_groups: 3 }",),
        ("evo_norm_s0_param { num_groups: 1 eps: 0.01 v_filler { value: -2 } bias_filler { value: 1 } }", ((3, 4),)),
        ("evo_norm_s0_param { num_groups: 2 scale_filler { value: 2 } }", ((2, 4, 3),)),
    ]
}
ARRAY_CODE = {"EvoNormS0": "has no kernels yet"}
X = np.random.default_rng(1).standard_normal((3, 4, 2, 5)) + 0.5
GAUSSIAN = " ".join(f'{name}_filler {{ type: "gaussian" }}' for name in ("scale", "bias", "v"))


def text(groups: int, rest: str = "") -> str:
    return f'type: "EvoNormS0" evo_norm_s0_param {{ num_groups: {groups} {rest} }}'


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_values(groups: int, phase: int, in_place: bool) -> None:
    one = One(text(groups, f"eps: 0.01 {GAUSSIAN}"), X, phase=phase, in_place=in_place, dtype=np.float64)
    y = one.forward()
    assert [blob.shape for blob in one.blobs] == [(4,)] * 3
    size = 4 // groups
    for n in range(3):
        for c in range(4):
            gamma, beta, v = (blob[c] for blob in one.blobs)
            group = X[n, c // size * size : (c // size + 1) * size].ravel()
            mean = sum(group) / len(group)
            std = math.sqrt(sum((value - mean) ** 2 for value in group) / len(group) + np.float32(0.01))
            for i, value in enumerate(X[n, c].ravel()):
                expected = gamma * value / (1 + math.exp(-v * value)) / std + beta
                np.testing.assert_allclose(y[n, c].ravel()[i], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("shape", "groups"), [((4, 6), 2), ((2, 3, 5), 3), ((3, 4, 2, 3), 1), ((2, 4, 2, 2), 2)])
def test_gradient(shape: tuple[int, ...], groups: int, in_place: bool) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    assert check_gradient(text(groups, f"eps: 0.1 {GAUSSIAN}"), [x], in_place=in_place) == x.size + 3 * shape[1]


def test_large_arguments_of_the_sigmoid_do_not_overflow() -> None:
    x = np.array([[[1e4, -1e4, 1.0]]])
    with np.errstate(all="raise"):
        y = One(text(1, "scale_filler { value: 1 }"), x).forward()
    np.testing.assert_allclose(y, np.array([[[1e4, 0, 1 / (1 + math.exp(-1))]]]) / x.std(), rtol=1e-4)


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="num_groups must be at least 1"):
        One(text(0), X)
    with pytest.raises(PrototxtError, match="eps must not be negative, got -1"):
        One(text(1, "eps: -1"), X)
    with pytest.raises(ShapeError, match=r"32 groups must divide the channels of a bottom of shape \(3, 4, 2, 5\)"):
        One('type: "EvoNormS0"', X)
    with pytest.raises(ShapeError, match="has scales for 4 channels"):
        One(text(2), X).forward(X[:, :2])
