"""CTCGreedyDecoder: what it reads, and the tops of each of its forms, against loops over sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from tests.layers.helpers import One
from tests.layers.test_labelsequence_accuracy import read, scores_of

CATALOGUE = {
    "CTCGreedyDecoder": [
        ("", ((3, 2, 5),)),
        ("ctc_decoder_param { ctc_merge_repeated: false blank_index: 1 }", ((3, 2, 5), "cont"), 2),
        ("", ((4, 2, 5), "label rows")),
        ("", ((3, 2, 5), "cont", "label sequences"), 2),
        ("", ((3, 2, 5), "cont", "label sequences"), 3),
    ],
    "CTCDecoder": [("", ((3, 2, 5), "cont"))],
    "CtcDecoder": [("", ((3, 2, 5),))],
    "CtcGreedyDecoder": [("", ((3, 2, 5),))],
}
ARRAY_CODE = dict.fromkeys(CATALOGUE, "sorts labels, and nobody trains through it")
PATHS = [[1, 1, 0, 1, 2], [0, 0, 3, 3, 3], [0, 0, 0, 0, 0], [3, 0, 3, 2, 2]]


def decoder(settings: str = "") -> str:
    return f'type: "CTCGreedyDecoder" ctc_decoder_param {{ {settings} }}'


def time_first(paths: list[list[int]] = PATHS, classes: int = 4) -> Any:
    return scores_of(paths, classes).swapaxes(0, 1)


def lists(top: Any) -> list[list[int]]:
    """The rows of a top (N, T, 1, 1) up to their -1."""
    assert top.shape[2:] == (1, 1)
    found = [[int(v) for v in row.ravel()] for row in top]
    for row in found:
        end = row.index(-1) if -1 in row else len(row)
        assert all(v == -1 for v in row[end:])
    return [[v for v in row if v != -1] for row in found]


def test_labels_that_are_read() -> None:
    """Blank 0 by default; the last class where there are marks, of which the paths have none."""
    assert lists(One(decoder(), time_first()).forward()) == [[1, 1, 2], [3], [], [3, 3, 2]]
    cont = np.ones((5, 4))
    expected = [[1, 0, 1, 2], [0], [0], [0, 2]]
    assert lists(One(decoder(), time_first(), cont).forward()) == expected
    assert lists(One(decoder("blank_index: -1"), time_first()).forward()) == expected
    assert lists(One(decoder("ctc_merge_repeated: false"), time_first()).forward())[1] == [3, 3, 3]


def test_marks_end_a_sequence() -> None:
    cont = np.array([[0, 1, 1, 0, 1], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).T
    scores = time_first()
    one = One(decoder("blank_index: 0"), scores, cont, n_top=2)
    assert lists(one.forward()) == [[1], [3], [], [3, 3, 2]]
    highest = scores.max(axis=2)
    sums = [-highest[:steps, n].sum() for n, steps in enumerate((3, 4, 1, 5))]
    assert one.top[1].shape == (4, 1, 1, 1)
    np.testing.assert_allclose(one.top[1].data.ravel(), sums, rtol=1e-6)


def levenshtein(a: list[int], b: list[int]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(
        levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1, levenshtein(a[1:], b[1:]) + (a[0] != b[0])
    )  # fmt: skip


def test_accuracies() -> None:
    """By edit distance and by sequences, in caffe_ocr's form and in ChWick's."""
    random = np.random.default_rng(3)
    n, steps = 60, 5
    paths = random.integers(0, 4, (n, steps)).tolist()
    labels = [random.choice([1, 1, 2, 3], random.integers(0, 4)).tolist() for _ in range(n)]
    labels[:3] = [read(path, 0)[:3] for path in paths[:3]]
    found = [read(path, 0) for path in paths]
    similar = np.mean([1 - levenshtein(a, b) / max(1, len(a), len(b)) for a, b in zip(found, labels, strict=True)])
    right = np.mean([a == b for a, b in zip(found, labels, strict=True)])
    rows = np.array([[*label, *[-1] * (4 - len(label))] for label in labels])
    scores = scores_of(paths, 4).swapaxes(0, 1)
    one = One(decoder(), scores, np.where(rows < 0, 0, rows))
    one.forward()
    assert one.top[0].shape == (1, 2, 1, 1)
    np.testing.assert_allclose(one.top[0].data.ravel(), [similar, right], rtol=1e-6)
    for tops in (2, 3):
        one = One(decoder("blank_index: 0"), scores, np.ones((steps, n)), rows.T, n_top=tops)
        assert lists(one.forward()) == found
        assert one.top[-1].shape == (1, 1, 1, 1)
        np.testing.assert_allclose(one.top[-1].data.ravel(), [similar], rtol=1e-6)
    np.testing.assert_allclose(one.top[1].data.ravel(), -scores.max(axis=2).sum(axis=0), rtol=1e-6)


def test_wrong_bottoms_and_tops() -> None:
    scores, cont = np.zeros((5, 2, 4)), np.zeros((5, 2))
    tried: list[tuple[tuple[Any, ...], int]] = [((scores,), 2), ((scores, np.zeros((2, 3))), 2), ((scores, cont), 3)]
    for bottom, tops in tried:
        with pytest.raises(PrototxtError, match=f"gives at most {tops - 1} tops? for these bottoms, got {tops}"):
            One(decoder(), *bottom, n_top=tops)
    for bottom, message in (
        ((scores, np.zeros((3, 2))), r"bottom 1 must hold the labels of 2 sequences, \(N, L\), got shape \(3, 2\)"),
        ((scores, np.zeros((4, 2)), np.zeros((3, 2))), r"expected shape \(5, 2\), got \(4, 2\)"),
        ((scores, np.zeros((5, 2, 3))), r"expected shape \(5, 2\), got \(5, 2, 3\)"),
        ((scores, cont, np.zeros((3, 2, 5))), r"bottom 2 must hold the labels of 2 sequences, \(L, N\), got shape"),
        ((scores, cont, np.zeros((2, 3))), r"bottom 2 must hold the labels of 2 sequences, \(L, N\), got shape"),
    ):
        with pytest.raises(ShapeError, match=message):
            One(decoder(), *bottom)
    with pytest.raises(ShapeError, match="the blank is class -5, the bottom has 4 classes"):
        One(decoder("blank_index: -5"), scores)
