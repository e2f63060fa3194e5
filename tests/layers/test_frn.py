from __future__ import annotations

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "FRN": [
        (),
        ("frn_param { threshold: false eps: 0.01 scale_filler { value: 2 } bias_filler { value: 0.1 } }",),
        ("frn_param { threshold_filler { value: 0.5 } }", ((2, 3, 7),)),
        ("frn_param { eps: 1 }", ((3, 5),)),
    ]
}
ARRAY_CODE = {"FRN": "has no kernels yet"}
X = np.random.default_rng(1).standard_normal((3, 4, 2, 5)) + 0.5
GAUSSIAN = " ".join(f'{name}_filler {{ type: "gaussian" }}' for name in ("scale", "bias", "threshold"))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_values(phase: int, in_place: bool) -> None:
    one = One(f'type: "FRN" frn_param {{ eps: 0.01 {GAUSSIAN} }}', X, phase=phase, in_place=in_place, dtype=np.float64)
    y = one.forward()
    assert [blob.shape for blob in one.blobs] == [(4,)] * 3
    below = 0
    for n in range(3):
        for c in range(4):
            gamma, beta, tau = (blob[c] for blob in one.blobs)
            nu = sum(v**2 for v in X[n, c].ravel()) / 10
            for i, v in enumerate(X[n, c].ravel()):
                response = gamma * v / np.sqrt(nu + np.float32(0.01)) + beta
                below += response < tau
                np.testing.assert_allclose(y[n, c].ravel()[i], max(response, tau), rtol=1e-9)
    assert 0 < below < X.size


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("threshold", ["true", "false"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (3, 2, 2, 3)])
def test_gradient(shape: tuple[int, ...], threshold: str, in_place: bool) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    text = f'type: "FRN" frn_param {{ eps: 0.1 threshold: {threshold} {GAUSSIAN} }}'
    blobs = 3 if threshold == "true" else 2
    assert check_gradient(text, [x], in_place=in_place) == x.size + blobs * shape[1]


def test_the_scale_of_the_input_does_not_count_and_nothing_depends_on_the_batch() -> None:
    one = One('type: "FRN" frn_param { eps: 1e-12 }', X, dtype=np.float64)
    y = one.forward(X).copy()
    np.testing.assert_allclose(one.forward(7 * X), y, rtol=1e-9)
    np.testing.assert_allclose(one.forward(X[1:2]), y[1:2], rtol=1e-12)


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="eps must not be negative, got -1"):
        One('type: "FRN" frn_param { eps: -1 }', X)
    with pytest.raises(ShapeError, match="at least 2 axes"):
        One('type: "FRN"', X[0, 0, 0])
    with pytest.raises(ShapeError, match="has scales for 4 channels"):
        One('type: "FRN"', X).forward(X[:, :3])
