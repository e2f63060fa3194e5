"""MarginInnerProduct and LargeMarginInnerProduct against angles taken with acos, and lambda over iterations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.bases.margin_product import MarginProduct
from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

FILLER = 'weight_filler { type: "gaussian" std: 0.5 }'
FIELDS = {"MarginInnerProduct": "margin_inner_product_param",
          "LargeMarginInnerProduct": "largemargin_inner_product_param"}  # fmt: skip
FORMS = ["SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE"]


def settings(kind: str, more: str) -> str:
    return f"{FIELDS[kind]} {{ num_output: 5 {FILLER} {more} }}"


CATALOGUE = {
    kind: [
        (settings(kind, ""), ((3, 4), "labels")),
        (settings(kind, "type: DOUBLE base: 0.5"), ((3, 4), "labels")),
        (settings(kind, "type: TRIPLE lambda_min: 2"), ((3, 4), "labels"), 2),
        (settings(kind, "type: QUADRUPLE base: 10 gamma: 0.1 iteration: 3"), ((3, 2, 2), "labels"), 2),
    ]
    for kind in FIELDS
}
ARRAY_CODE = dict.fromkeys(FIELDS, "its angles have no kernels")

RNG = np.random.default_rng(1)
X, LABELS = RNG.standard_normal((40, 4)), RNG.integers(0, 5, 40)


def psi(m: int, theta: float) -> float:
    """Cosines of m theta, joined so that they fall."""
    k = min(int(theta * m / math.pi), m - 1)
    return (-1.0) ** k * math.cos(m * theta) - 2 * k


@pytest.mark.parametrize("plain", [0.0, 1.5])
@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", FIELDS)
def test_values(kind: str, m: int, plain: float) -> None:
    text = f'type: "{kind}" ' + settings(kind, f"type: {FORMS[m - 1]} base: {plain}")
    one = One(text, X, LABELS, dtype=np.float64, n_top=2)
    y = one.forward()
    assert one.top[1].data.tolist() == [plain]
    seen = set()
    for i, x in enumerate(X):
        for c, w in enumerate(one.blobs[0]):
            length = np.linalg.norm(x) * (1 if kind == "MarginInnerProduct" else np.linalg.norm(w))
            theta = math.acos(x @ w / np.linalg.norm(x) / np.linalg.norm(w))
            expected = length * math.cos(theta)
            if c == LABELS[i]:
                seen.add(int(theta * m / math.pi))
                expected = (length * psi(m, theta) + plain * expected) / (1 + plain)
            assert y[i, c] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert seen == set(range(m))  # each piece of psi


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", FIELDS)
def test_gradient(kind: str, form: str) -> None:
    text = f'type: "{kind}" ' + settings(kind, f"type: {form} base: 0.5 gamma: 0.2")
    check_gradient(text, [X[:12], LABELS[:12]])
    check_gradient(text, [X[:12].reshape(12, 2, 2), LABELS[:12]], n_top=2)


@pytest.mark.parametrize("kind", FIELDS)
def test_lambda_falls_with_the_iterations_of_training(kind: str) -> None:
    text = f'type: "{kind}" ' + settings(
        kind, "type: QUADRUPLE base: 1000 gamma: 0.12 power: 1.5 lambda_min: 5 iteration: 7"
    )
    one = One(text, X, LABELS, n_top=2)
    for n in (8, 9, 10):
        one.forward()
        assert one.top[1].data[0] == pytest.approx(1000 * (1 + 0.12 * n) ** -1.5, rel=1e-6)
    one.layer.phase = TEST
    one.forward()
    assert one.top[1].data[0] == pytest.approx(1000 * (1 + 0.12 * 10) ** -1.5, rel=1e-6)
    one.layer.rng.draws = 10**6  # as a snapshot sets it
    one.forward()
    assert one.top[1].data.tolist() == [5]


@pytest.mark.parametrize("kind", FIELDS)
def test_lambda_may_grow_beyond_all_numbers(kind: str) -> None:
    one = One(f'type: "{kind}" ' + settings(kind, "base: 1 gamma: 9 power: -400 iteration: 1"), X, LABELS)
    assert isinstance(one.layer, MarginProduct)
    assert one.layer.plain_weight == math.inf


@pytest.mark.parametrize("kind", FIELDS)
def test_items_and_weights_of_zeros(kind: str) -> None:
    one = One(f'type: "{kind}" ' + settings(kind, "type: QUADRUPLE"), np.zeros((2, 4)), [0, 1])
    one.blobs[0][1] = 0
    assert (one.forward() == 0).all()
    assert np.isfinite(one.backward(np.ones((2, 5)))).all()
    assert np.isfinite(one.layer.blobs[0].diff).all()


@pytest.mark.parametrize("kind", FIELDS)
def test_messages(kind: str) -> None:
    text = f'type: "{kind}" '
    with pytest.raises(PrototxtError, match="num_output must be at least 1"):
        One(text, X, LABELS)
    with pytest.raises(PrototxtError, match="lambda_min must not be negative, got -1"):
        One(text + settings(kind, "lambda_min: -1"), X, LABELS)
    with pytest.raises(ShapeError, match=r"expected 40 labels, got shape \(3,\)"):
        One(text + settings(kind, ""), X, [0, 1, 2])
    one = One(text + settings(kind, ""), X, LABELS)
    with pytest.raises(ShapeError, match=r"has weights for 4 inputs, got a bottom of shape \(40, 3\)"):
        one.forward(X[:, :3])
    with pytest.raises(DataError, match=r"label 5 at position .* is out of range: expected 0 to 4 for 5 classes"):
        One(text + settings(kind, "type: DOUBLE"), X[:1], [5]).forward()
