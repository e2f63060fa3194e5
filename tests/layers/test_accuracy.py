"""Accuracy against loops: top_k with ties, axis, ignore_label, accuracies of the classes, messages."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from tests.layers.helpers import One

RNG = np.random.default_rng(4)
X = RNG.integers(0, 4, (5, 4, 3)).astype(float)  # with many ties
LABEL = RNG.integers(0, 4, (5, 3))


def expected(top_k: int, ignore: int | None) -> tuple[float, list[float]]:
    hits, seen = [0] * 4, [0] * 4
    for n in range(5):
        for s in range(3):
            label = LABEL[n, s]
            if label == ignore:
                continue
            better = sum(X[n, c, s] >= X[n, label, s] for c in range(4) if c != label)
            seen[label] += 1
            hits[label] += better < top_k
    return sum(hits) / max(1, sum(seen)), [h / max(1, s) for h, s in zip(hits, seen, strict=True)]


@pytest.mark.parametrize("ignore", [None, 2])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_value(top_k: int, ignore: int | None) -> None:
    more = "" if ignore is None else f"ignore_label: {ignore}"
    one = One(f'type: "Accuracy" accuracy_param {{ top_k: {top_k} {more} }}', X, LABEL, n_top=2)
    overall, each = expected(top_k, ignore)
    assert float(one.forward()) == pytest.approx(overall)
    np.testing.assert_allclose(one.top[1].data, each, rtol=1e-6)


def test_other_axis() -> None:
    one = One('type: "Accuracy" accuracy_param { axis: 2 }', np.moveaxis(X, 1, 2), LABEL)
    assert float(one.forward()) == pytest.approx(expected(1, None)[0])


def test_nothing_learnt_scores_nothing() -> None:
    assert float(One('type: "Accuracy"', np.zeros((2, 3)), [0, 1]).forward()) == 0
    assert float(One('type: "Accuracy"', np.full((2, 3), np.nan), [0, 1]).forward()) == 0


def test_messages() -> None:
    with pytest.raises(DataError, match=r"label 4 at position \(0, 0\) is out of range: expected 0 to 3 for 4 classes"):
        One('type: "Accuracy"', X, np.full((5, 3), 4)).forward()
    with pytest.raises(ShapeError, match="top_k is 5 of 4 classes"):
        One('type: "Accuracy" accuracy_param { top_k: 5 }', X, LABEL)
    with pytest.raises(PrototxtError, match="top_k must be at least 1"):
        One('type: "Accuracy" accuracy_param { top_k: 0 }', X, LABEL)
    with pytest.raises(ShapeError, match="expected 15 labels"):
        One('type: "Accuracy"', X, LABEL[:2])
