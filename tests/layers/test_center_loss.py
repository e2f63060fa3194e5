"""CenterLoss: the loss and its gradient, and how the centres move."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from tests.layers.helpers import One

FILLER = 'center_filler { type: "gaussian" }'
CATALOGUE = {
    "CenterLoss": [
        (f"center_loss_param {{ num_output: 5 {FILLER} }}", ((3, 4), "labels")),
        (
            f'center_loss_param {{ num_output: 5 {FILLER} distance_type: "L1" }} loss_weight: 0.01',
            ((3, 2, 2), "labels"),
        ),
    ]
}
ARRAY_CODE = {"CenterLoss": "its centres have no kernels"}
X = np.random.default_rng(1).standard_normal((6, 4))
LABELS = [2, 0, 2, 1, 2, 0]


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_values_and_gradients(kind: str) -> None:
    text = f'type: "CenterLoss" center_loss_param {{ num_output: 4 {FILLER} distance_type: "{kind}" }}'
    one = One(text, X, LABELS, dtype=np.float64)
    centres = one.blobs[0].copy()
    d = [x - centres[k] for x, k in zip(X, LABELS, strict=True)]
    loss = sum(sum(abs(v)) if kind == "L1" else sum(v * v) / 2 for v in d) / 6
    assert float(one.forward()) == pytest.approx(loss)
    one.layer.blobs[0].diff[...] = 1
    dx = one.backward(0.3)
    slopes = [np.sign(v) if kind == "L1" else v for v in d]
    np.testing.assert_allclose(dx, [0.3 * v / 6 for v in slopes])
    for k in range(4):
        own = [-v for v, label in zip(slopes, LABELS, strict=True) if label == k]
        np.testing.assert_allclose(one.layer.blobs[0].diff[k], 1 + sum(own, np.zeros(4)) / (1 + len(own)))


def test_the_gradient_of_the_bottom_is_that_of_the_loss() -> None:
    one = One(f'type: "CenterLoss" center_loss_param {{ num_output: 4 {FILLER} }}', X, LABELS, dtype=np.float64)
    before = float(one.forward())
    dx = one.backward(1.0).copy()
    step = 1e-6 * np.random.default_rng(2).standard_normal(X.shape)
    assert float(one.forward(X + step)) - before == pytest.approx((dx * step).sum(), rel=1e-4)


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="num_output must be at least 1"):
        One('type: "CenterLoss"', X, LABELS)
    with pytest.raises(PrototxtError, match='distance_type must be "L1" or "L2", got "L3"'):
        One('type: "CenterLoss" center_loss_param { num_output: 4 distance_type: "L3" }', X, LABELS)
    text = 'type: "CenterLoss" center_loss_param { num_output: 4 }'
    with pytest.raises(ShapeError, match=r"expected 6 labels, got shape \(6, 2\)"):
        One(text, X, np.zeros((6, 2)))
    with pytest.raises(ShapeError, match=r"has centres of 4 values, got a bottom of shape \(6, 3\)"):
        One(text, X, LABELS).forward(X[:, :3])
