"""SoftmaxWithLoss against loops over labels: axis, ignore_label, every normalisation, weights, messages."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 4, 2))  # classes at axis 1
LABEL = RNG.integers(0, 4, (3, 2))
LABEL[0, 0] = LABEL[2, 1] = 1
SETTINGS = {
    "": "valid",
    "normalization: FULL": "full",
    "normalization: VALID": "valid",
    "normalization: BATCH_SIZE": "batch",
    "normalization: NONE": "none",
    "normalize: true": "valid",
    "normalize: false": "batch",
    "normalize: true normalization: NONE": "none",
}


def expected(ignore: int | None, mode: str) -> float:
    total, valid = 0.0, 0
    for n in range(3):
        for s in range(2):
            if LABEL[n, s] == ignore:
                continue
            valid += 1
            total += math.log(sum(math.exp(v) for v in X[n, :, s])) - X[n, LABEL[n, s], s]
    return total / {"full": 6, "valid": valid, "batch": 3, "none": 1}[mode]


@pytest.mark.parametrize("ignore", [None, 1])
@pytest.mark.parametrize("setting", SETTINGS)
def test_value_and_gradient(setting: str, ignore: int | None) -> None:
    more = "" if ignore is None else f"ignore_label: {ignore}"
    text = f'type: "SoftmaxWithLoss" loss_param {{ {setting} {more} }}'
    loss = One(text, X, LABEL, dtype=np.float64).forward()
    assert loss.shape == ()
    assert float(loss) == pytest.approx(expected(ignore, SETTINGS[setting]), rel=1e-12)
    check_gradient(text, [X, LABEL])


def test_other_axis() -> None:
    moved = np.moveaxis(X, 1, 2)
    text = 'type: "SoftmaxWithLoss" softmax_param { axis: -1 } loss_param { normalization: VALID }'
    assert float(One(text, moved, LABEL, dtype=np.float64).forward()) == pytest.approx(expected(None, "valid"))
    check_gradient(text, [moved, LABEL])


def test_second_top_has_the_probabilities() -> None:
    one = One('type: "SoftmaxWithLoss"', X, LABEL, n_top=2)
    one.forward()
    np.testing.assert_allclose(one.top[1].data, np.exp(X) / np.exp(X).sum(1, keepdims=True), rtol=1e-5)


def test_loss_weight_scales_the_gradient() -> None:
    one = One('type: "SoftmaxWithLoss"', X, LABEL)
    one.forward()
    plain = one.backward(1.0).copy()
    np.testing.assert_allclose(one.backward(2.5), 2.5 * plain, rtol=1e-6)


@pytest.mark.parametrize("ignore", [None, 1])
def test_weights_of_classes(ignore: int | None) -> None:
    weights = [0.5, 2, 1.5, 3]
    total, valid = 0.0, 0
    for n, s in np.ndindex(3, 2):
        if LABEL[n, s] != ignore:
            valid += 1
            total += weights[LABEL[n, s]] * (math.log(sum(map(math.exp, X[n, :, s]))) - float(X[n, LABEL[n, s], s]))
    setting = "weight_by_label_freqs: true " + " ".join(f"class_weighting: {w}" for w in weights)
    setting += "" if ignore is None else f" ignore_label: {ignore}"
    text = f'type: "SoftmaxWithLoss" loss_param {{ {setting} }}'
    assert float(One(text, X, LABEL, dtype=np.float64).forward()) == pytest.approx(total / valid, rel=1e-9)
    check_gradient(text, [X, LABEL])


def test_weights_must_be_one_for_each_class() -> None:
    with pytest.raises(PrototxtError, match="go together"):
        One('type: "SoftmaxWithLoss" loss_param { class_weighting: 1 }', X, LABEL)
    with pytest.raises(ShapeError, match="class_weighting has 1 value for 4 classes"):
        One('type: "SoftmaxWithLoss" loss_param { weight_by_label_freqs: true class_weighting: 1 }', X, LABEL)


def test_all_labels_ignored() -> None:
    one = One('type: "SoftmaxWithLoss" loss_param { ignore_label: 1 }', X, np.ones((3, 2)))
    assert float(one.forward()) == 0
    assert not one.backward(1.0).any()


def test_ignored_label_may_lie_outside() -> None:
    one = One('type: "SoftmaxWithLoss" loss_param { ignore_label: 255 }', X, np.full((3, 2), 255))
    assert float(one.forward()) == 0


def test_certain_mistake_is_finite() -> None:
    assert float(One('type: "SoftmaxWithLoss"', [[1000.0, 0.0]], [1]).forward()) == pytest.approx(87.3365, rel=1e-5)


@pytest.mark.parametrize("label", [4, -1, np.nan, np.inf])
def test_label_out_of_range(label: float) -> None:
    labels = LABEL.astype(float)
    labels[1, 1] = label
    message = rf'layer "one" \(SoftmaxWithLoss\): label {label:g} at position \(1, 1\) is out of range: expected 0 to 3'
    with pytest.raises(DataError, match=message + " for 4 classes"):
        One('type: "SoftmaxWithLoss"', X, labels).forward()


def test_numbers_of_labels() -> None:
    with pytest.raises(ShapeError, match=r"expected 6 labels for predictions of shape \(3, 4, 2\).*got 3"):
        One('type: "SoftmaxWithLoss"', X, np.zeros(3))


def test_label_has_no_gradient() -> None:
    one = One('type: "SoftmaxWithLoss"', X, LABEL)
    one.forward()
    with pytest.raises(PrototxtError, match="bottom 1 is a label"):
        one.backward(1.0, propagate_down=[True, True])
