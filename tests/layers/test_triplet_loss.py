"""TripletLoss against a loop over triplets, of which some are far enough apart."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

FLAT = (3, 5)
CATALOGUE = {"TripletLoss": [("", (FLAT, FLAT, FLAT)), ("triplet_loss_param { margin: 4 }", (FLAT, FLAT, FLAT))]}
ARRAY_CODE = {"TripletLoss": "its distances have no kernels"}
A, P, N = np.random.default_rng(1).standard_normal((3, 8, 3))


def test_value_and_gradient() -> None:
    text = 'type: "TripletLoss" triplet_loss_param { margin: 1.5 }'
    terms = [1.5 + sum((a - p) ** 2) - sum((a - n) ** 2) for a, p, n in zip(A, P, N, strict=True)]
    assert min(terms) < 0 < max(terms)
    expected = sum(max(term, 0) for term in terms) / 16
    assert float(One(text, A, P, N).forward()) == pytest.approx(expected, rel=1e-6)
    check_gradient(text, [A, P, N])


def test_messages() -> None:
    with pytest.raises(ShapeError, match=r"bottom 2 must have the shape of bottom 0: expected \(8, 3\), got \(8, 2\)"):
        One('type: "TripletLoss"', A, P, N[:, :2])
