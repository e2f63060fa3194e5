"""FocalLoss with classes and with targets, against the paper's formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

FLAT = (3, 5)
CATALOGUE = {
    "FocalLoss": [
        ("", (FLAT, "labels")),
        ("focal_loss_param { alpha: 0.25 gamma: 1.5 } loss_weight: 1 loss_weight: 0", (FLAT, "labels"), 2),
        ("focal_loss_param { gamma: 0.5 } loss_param { ignore_label: 2 }", ((2, 6, 5, 4), "map labels")),
        ("focal_loss_param { alpha: 0.25 }", (FLAT, "targets")),
        ("focal_loss_param { alpha: 0.75 gamma: 0 } loss_param { normalization: FULL }", (FLAT, "targets")),
    ]
}
ARRAY_CODE = {"FocalLoss": "its weights have no kernels"}
RNG = np.random.default_rng(1)
X = RNG.standard_normal((4, 3, 2))
LABELS = np.array([[0, 2], [1, 1], [2, 0], [0, 0]])
TARGETS = RNG.integers(0, 2, X.shape)


@pytest.mark.parametrize("ignored", [None, 1])
@pytest.mark.parametrize("gamma", [0, 0.5, 2])
def test_classes(gamma: float, ignored: int | None) -> None:
    text = f'type: "FocalLoss" focal_loss_param {{ alpha: 0.5 gamma: {gamma} }}'
    text += f" loss_param {{ ignore_label: {ignored} }}" if ignored is not None else ""
    total, counted = 0.0, 0
    for n, i in np.ndindex(4, 2):
        if LABELS[n, i] != ignored:
            p = math.exp(X[n, LABELS[n, i], i]) / sum(math.exp(v) for v in X[n, :, i])
            total, counted = total - 0.5 * (1 - p) ** gamma * math.log(p), counted + 1
    one = One(text, X, LABELS, n_top=2)
    assert float(one.forward()) == pytest.approx(total / counted, rel=1e-6)
    np.testing.assert_allclose(one.top[1].data.sum(axis=1), 1, rtol=1e-6)
    check_gradient(text, [X, LABELS])


@pytest.mark.parametrize("ignored", [None, 1])
@pytest.mark.parametrize("gamma", [0, 0.5, 2])
def test_targets(gamma: float, ignored: int | None) -> None:
    text = f'type: "FocalLoss" focal_loss_param {{ alpha: 0.25 gamma: {gamma} }}'
    text += f" loss_param {{ ignore_label: {ignored} }}" if ignored is not None else ""
    total = 0.0
    for x, t in zip(X.ravel(), TARGETS.ravel(), strict=True):
        p = 1 / (1 + math.exp(-x if t else x))
        total -= 0 if t == ignored else (0.25 if t else 0.75) * (1 - p) ** gamma * math.log(p)
    assert float(One(text, X, TARGETS).forward()) == pytest.approx(total / 4, rel=1e-6)
    check_gradient(text, [X, TARGETS])


def test_without_focus_it_is_the_loss_of_the_softmax() -> None:
    focal = One('type: "FocalLoss" focal_loss_param { gamma: 0 }', X, LABELS, dtype=np.float64)
    plain = One('type: "SoftmaxWithLoss"', X, LABELS, dtype=np.float64)
    assert float(focal.forward()) == pytest.approx(float(plain.forward()))
    np.testing.assert_allclose(focal.backward(1.0), plain.backward(1.0), atol=1e-12)


@pytest.mark.parametrize("given", [([[100.0, -100]], [0]), ([[100.0, -100]], [1]), ([[100.0, -100]], [[1, 0]])])
def test_certain_scores_have_finite_gradients(given: tuple[object, object]) -> None:
    for gamma in (0, 0.5, 2):
        one = One(f'type: "FocalLoss" focal_loss_param {{ gamma: {gamma} alpha: 0.5 }}', *given)  # type: ignore[arg-type]
        assert np.isfinite(one.forward())
        assert np.isfinite(one.backward(1.0)).all()


def test_messages() -> None:
    with pytest.raises(PrototxtError, match="type LINEAR, which programs define in different ways, is not offered"):
        One('type: "FocalLoss" focal_loss_param { type: LINEAR }', X, LABELS)
    with pytest.raises(PrototxtError, match="gamma must not be negative, got -1"):
        One('type: "FocalLoss" focal_loss_param { gamma: -1 }', X, LABELS)
    with pytest.raises(PrototxtError, match="has one top where each value has a target of its own"):
        One('type: "FocalLoss"', X, TARGETS, n_top=2)
    with pytest.raises(ShapeError, match="expected 8 labels for predictions of shape"):
        One('type: "FocalLoss"', X, np.zeros((4, 3)))
    with pytest.raises(DataError, match="label 2 at position"):
        One('type: "FocalLoss"', X, TARGETS * 2).forward()
