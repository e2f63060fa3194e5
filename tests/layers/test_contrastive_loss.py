from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

RNG = np.random.default_rng(9)
A, B = RNG.standard_normal((2, 6, 3))
SIMILAR = [0, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("legacy", [False, True])
def test_value_and_gradient(legacy: bool) -> None:
    margin = 6.0 if legacy else 2.5
    text = (
        f'type: "ContrastiveLoss" contrastive_loss_param {{ margin: {margin} legacy_version: {str(legacy).lower()} }}'
    )
    total = 0.0
    for a, b, s in zip(A, B, SIMILAR, strict=True):
        d2 = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
        apart = max(margin - d2, 0) if legacy else max(margin - math.sqrt(d2), 0) ** 2
        total += d2 if s else apart
    assert total != sum(((A - B) ** 2).sum(1) * SIMILAR)  # some pair is pushed apart
    assert float(One(text, A, B, SIMILAR).forward()) == pytest.approx(total / 12, rel=1e-6)
    # the distance is divided by itself plus a little
    check_gradient(text, [A, B, SIMILAR], tolerance=1e-6 if legacy else 1e-3)


def test_equal_points_have_a_finite_gradient() -> None:
    one = One('type: "ContrastiveLoss"', A, A, SIMILAR)
    one.forward()
    assert np.isfinite(one.backward(1.0)).all()


def test_shapes() -> None:
    with pytest.raises(ShapeError, match=r"for each of 6 pairs whether it is similar, got shape \(6, 2\)"):
        One('type: "ContrastiveLoss"', A, B, np.zeros((6, 2)))
    with pytest.raises(ShapeError, match="must have one shape"):
        One('type: "ContrastiveLoss"', A, B[:, :2], SIMILAR)
