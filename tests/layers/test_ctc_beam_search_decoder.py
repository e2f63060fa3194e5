"""CTCBeamSearchDecoder against a sum over all paths, and against a beam search that is written with dictionaries."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from dragon.bases.ctc import Alignments
from dragon.bases.ctc_beam import beam_search
from dragon.errors import PrototxtError
from tests.layers.helpers import One
from tests.layers.test_ctc_greedy_decoder import levenshtein, lists
from tests.layers.test_labelsequence_accuracy import read

CATALOGUE = {
    "CTCBeamSearchDecoder": [
        ("", ((3, 2, 5),)),
        ("ctc_decoder_param { beam_width: 2 ctc_merge_repeated: false }", ((3, 2, 5), "cont"), 2),
        ("ctc_decoder_param { beam_width: 10 }", ((4, 2, 5), "label rows")),
        ("", ((3, 2, 5), "cont", "label sequences"), 3),
    ]
}


def logs_of(steps: int, n: int, classes: int, seed: int, spread: float = 2.0) -> Any:
    scores = np.random.default_rng(seed).standard_normal((steps, n, classes)) * spread
    return scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))


def every_label(probabilities: Any, blank: int, merge: bool) -> dict[tuple[int, ...], float]:
    """The probability of each label by all paths of one sequence (T, C)."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    steps, classes = probabilities.shape
    for path in itertools.product(range(classes), repeat=steps):
        label = read(path, blank) if merge else [c for c in path if c != blank]
        found[tuple(label)] += float(np.prod(probabilities[np.arange(steps), path]))
    return found


def by_dictionaries(probabilities: Any, blank: int, width: int, merge: bool) -> tuple[tuple[int, ...], float]:
    """Prefix beam search, one label at a time, with probabilities that are not logarithms."""
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    for row in probabilities:
        after: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for label, (blanks, classes) in beam.items():
            after[label][0] += (blanks + classes) * row[blank]
            for c in range(len(row)):
                if c == blank:
                    continue
                same = merge and label[-1:] == (c,)
                if same:
                    after[label][1] += classes * row[c]
                after[(*label, c)][1] += (blanks if same else blanks + classes) * row[c]
        best = sorted(after, key=lambda label: -sum(after[label]))[:width]
        beam = {label: (after[label][0], after[label][1]) for label in best}
    best_label = max(beam, key=lambda label: sum(beam[label]))
    return best_label, sum(beam[best_label])


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("blank", [0, 1, 3])
def test_a_wide_beam_finds_the_best_of_all_labels(blank: int, merge: bool) -> None:
    for seed, steps in itertools.product(range(6), (1, 2, 5)):
        logs = logs_of(steps, 3, 4, seed)
        labels, counts, costs = beam_search(logs, blank, 10_000, merge=merge)
        for n in range(3):
            probabilities = every_label(np.exp(logs[:, n]), blank, merge)
            best = max(probabilities, key=lambda label: probabilities[label])
            assert tuple(labels[n, : counts[n]]) == best
            assert (labels[n, counts[n] :] == -1).all()
            np.testing.assert_allclose(np.exp(-costs[n]), probabilities[best], rtol=1e-9)


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_a_narrow_beam(width: int) -> None:
    """Labels are dropped and come back: their paths must not be counted twice, nor for another label."""
    for seed, merge in itertools.product(range(8), (True, False)):
        logs = logs_of(9, 4, 3, seed, spread=1.0)
        labels, counts, costs = beam_search(logs, 0, width, merge=merge)
        for n in range(4):
            best, probability = by_dictionaries(np.exp(logs[:, n]), 0, width, merge)
            assert tuple(labels[n, : counts[n]]) == best
            np.testing.assert_allclose(np.exp(-costs[n]), probability, rtol=1e-9)


def test_costs_are_the_losses_of_the_labels() -> None:
    """Where no label is dropped; a narrow beam misses some paths, and costs are higher."""
    logs = logs_of(8, 5, 4, 1)
    for width in (20_000, 4):
        labels, counts, costs = beam_search(logs, 0, width)
        losses = Alignments(logs, np.maximum(labels, 0), counts, 0).losses
        if width == 4:
            assert (costs > losses - 1e-9).all()
            assert (costs > losses + 1e-6).any()
        else:
            np.testing.assert_allclose(costs, losses, rtol=1e-6)


def test_it_beats_the_best_path() -> None:
    """Graves 2006, figure 2: the best path reads as nothing, yet `1` is more probable."""
    probabilities = np.array([[[0.6, 0.4]], [[0.6, 0.4]]])
    assert lists(One('type: "CTCGreedyDecoder"', probabilities).forward()) == [[]]
    one = One('type: "CTCBeamSearchDecoder" ctc_decoder_param { already_softmax: true }', probabilities)
    assert lists(one.forward()) == [[1]]
    assert lists(One('type: "CTCBeamSearchDecoder"', np.log(probabilities)).forward()) == [[1]]


def test_marks_labels_and_costs() -> None:
    """The last class is the blank, the marks end sequences, and the accuracy is that of whole sequences."""
    steps, lengths = 5, [5, 3, 1, 4]
    scores = np.random.default_rng(4).standard_normal((steps, 4, 4))
    cont = (np.arange(steps)[:, None] < np.array(lengths)).astype(float)
    cont[0] = 0
    found, costs = [], []
    for n, length in enumerate(lengths):
        exp = np.exp(scores[:length, n])
        probabilities = every_label(exp / exp.sum(axis=1, keepdims=True), 3, True)
        best = max(probabilities, key=lambda label: probabilities[label])
        found.append(list(best))
        costs.append(-np.log(probabilities[best]))
    labels = np.full((6, 4), -1.0)
    for n, label in enumerate(found):
        labels[: len(label), n] = label
    labels[len(found[1]), 1] = 2  # one label too many
    one = One('type: "CTCBeamSearchDecoder"', scores, cont, labels, n_top=3)
    assert lists(one.forward()) == found
    np.testing.assert_allclose(one.top[1].data.ravel(), costs, rtol=1e-5)
    assert one.top[2].data.item() == pytest.approx(3 / 4)
    rows = np.array([[*label, *[-1] * (6 - len(label))] for label in found])
    rows[0] = [0, 1, 0, 1, 0, 1]
    one = One('type: "CTCBeamSearchDecoder" ctc_decoder_param { blank_index: 3 }', scores[:1], rows)
    read_first = lists(One('type: "CTCBeamSearchDecoder" ctc_decoder_param { blank_index: 3 }', scores[:1]).forward())
    one.forward()
    wanted = [[v for v in row if v >= 0] for row in rows.tolist()]
    similar = np.mean([1 - levenshtein(a, b) / max(1, len(a), len(b)) for a, b in zip(read_first, wanted, strict=True)])
    right = np.mean([a == b for a, b in zip(read_first, wanted, strict=True)])
    np.testing.assert_allclose(one.top[0].data.ravel(), [similar, right], rtol=1e-6)


def test_scores_that_are_out_of_the_ordinary() -> None:
    """Scores of probability 0, equal ones, huge ones and NaN; no steps for no sequences."""
    certain = np.log(np.maximum(np.eye(3)[[1, 1, 0, 2]], 1e-300))[:, None]
    labels, counts, costs = beam_search(certain, 0, 4)
    assert labels[0, : counts[0]].tolist() == [1, 2]
    assert costs[0] == pytest.approx(0)
    with np.errstate(all="raise"):
        impossible = np.where(np.eye(3)[[1, 1, 0, 2]] > 0, 0.0, -np.inf)[:, None]
        assert beam_search(impossible, 0, 4)[0][0, :2].tolist() == [1, 2]
        one = One(
            'type: "CTCBeamSearchDecoder" ctc_decoder_param { already_softmax: true }', np.eye(3)[[1, 0, 1]][:, None]
        )
        assert lists(one.forward()) == [[1, 1]]
    assert beam_search(np.zeros((3, 2, 4)), 0, 2)[1].shape == (2,)
    assert beam_search(np.zeros((3, 0, 4)), 0, 2)[0].shape == (0, 3)
    huge = One('type: "CTCBeamSearchDecoder"', np.array([[[-3e38, 3e38, 0]], [[-3e38, 3e38, 0]]]))
    assert lists(huge.forward()) == [[1]]
    nan = One('type: "CTCBeamSearchDecoder"', np.full((3, 2, 4), np.nan), np.ones((3, 2)), n_top=2)
    assert lists(nan.forward()) == [[], []]
    assert np.isnan(nan.top[1].data).all()
    text = 'type: "CTCBeamSearchDecoder" ctc_decoder_param { already_softmax: true }'
    negative = One(text, np.full((3, 2, 4), -1.0), np.ones((3, 2)), n_top=2)  # no probabilities
    assert lists(negative.forward()) == [[], []]
    assert np.isnan(negative.top[1].data).all()


def test_a_width_of_none() -> None:
    with pytest.raises(PrototxtError, match="beam_width must be at least 1"):
        One('type: "CTCBeamSearchDecoder" ctc_decoder_param { beam_width: 0 }', np.zeros((3, 2, 4)))
