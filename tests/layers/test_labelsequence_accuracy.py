"""LabelsequenceAccuracy against a loop over sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from tests.layers.helpers import One

CATALOGUE = {
    "LabelsequenceAccuracy": [
        ("", ((2, 3, 5), "label rows")),
        ("labelsequence_accuracy_param { blank_label: -1 }", ((2, 3, 5, 1), "label rows")),
    ]
}
ARRAY_CODE = {"LabelsequenceAccuracy": "sorts labels, and nobody trains through it"}


def scores_of(paths: list[list[int]], classes: int) -> Any:
    """Scores (N, T, C) whose highest values are those of the paths."""
    random = np.random.default_rng(1).uniform(size=(*np.shape(paths), classes))
    return random + np.eye(classes)[np.array(paths)]


def read(path: Any, blank: int) -> list[int]:
    found, before = [], -1
    for c in path:
        if c not in (before, blank):
            found.append(int(c))
        before = c
    return found


def test_value() -> None:
    """Right: the empty path of the empty label, a path with repetitions and blanks; wrong: one label more or less."""
    paths = [[0, 0, 0, 0], [1, 1, 0, 1], [2, 2, 3, 0], [1, 2, 0, 3], [1, 1, 1, 1]]
    labels = [[0, 0, -1], [1, 1, 0], [2, 0, 3], [1, 2, -1], [1, 1, -1]]
    one = One('type: "LabelsequenceAccuracy"', scores_of(paths, 4), labels)
    assert one.forward() == pytest.approx(3 / 5)


@pytest.mark.parametrize("blank", [0, 2])
def test_against_a_loop(blank: int) -> None:
    random = np.random.default_rng(2)
    paths = random.integers(0, 3, (200, 4))
    labels = np.sort(random.choice([blank, -1, (blank + 1) % 3], (200, 3)))
    wanted = [[v for v in label if v not in (-1, blank)] for label in labels]
    expected = [read(path, blank) == label for path, label in zip(paths, wanted, strict=True)]
    one = One(
        f'type: "LabelsequenceAccuracy" labelsequence_accuracy_param {{ blank_label: {blank} }}',
        scores_of(paths.tolist(), 3), labels,
    )  # fmt: skip
    assert 0.05 < np.mean(expected) < 0.95
    assert one.forward() == pytest.approx(np.mean(expected))


def test_more_labels_than_steps() -> None:
    assert One('type: "LabelsequenceAccuracy"', scores_of([[1, 2]], 4), [[1, 2, 3, 0]]).forward() == 0
    assert One('type: "LabelsequenceAccuracy"', scores_of([[1, 2, 0]], 4), [[1, 2]]).forward() == 1


def test_wrong_shapes_and_gradients() -> None:
    kind = 'type: "LabelsequenceAccuracy"'
    for shapes, message in (
        (((2, 3), (2, 2)), r"needs scores of shape \(N, T, C\), got \(2, 3\)"),
        (((2, 3, 4, 2), (2, 2)), r"needs scores of shape \(N, T, C\), got \(2, 3, 4, 2\)"),
        (((2, 3, 4), (3, 2)), r"bottom 1 must hold the labels of 2 sequences, \(N, L\), got shape \(3, 2\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            One(kind, *map(np.zeros, shapes))
    with pytest.raises(ShapeError, match="the blank is class 4, the bottom has 4 classes"):
        One(kind + " labelsequence_accuracy_param { blank_label: 4 }", np.zeros((2, 3, 4)), np.zeros((2, 2)))
    one = One(kind, np.zeros((2, 3, 4)), np.zeros((2, 2)))
    with pytest.raises(PrototxtError, match="has no gradient for bottom 0"):
        one.backward(1.0, propagate_down=[True, False])
