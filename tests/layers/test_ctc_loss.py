"""CTCLoss against all paths, one by one, and against torch; its bottoms, its labels, and what the forks do."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One

CATALOGUE = {
    "CTCLoss": [
        ("", ((3, 2, 5), "cont", "label sequences")),
        ("ctc_loss_param { blank_index: 1 ctc_merge_repeated: false preprocess_collapse_repeated: true }",
         ((3, 2, 5), "cont", "label sequences")),
        ("ctc_loss_param { output_delay: 1 } loss_param { normalization: VALID }",
         ((3, 2, 5), "cont", "label sequences")),
    ],
    "CtcLoss": [
        ("ctc_loss_param { alphabet_size: 5 time_step: 2 blank_label: 4 } loss_param { normalization: BATCH_SIZE }",
         ((3, 2, 5), "label rows")),
        ("ctc_loss_param { blank_label: 3 } loss_weight: 0.5", ((3, 2, 5), "label rows")),
    ],
    "WarpCTCLoss": [("", ((3, 2, 5), "label rows")), ("", ((3, 2, 5), "steps", "one label", "label sequences"))],
    "WarpCTC": [("loss_param { normalization: NONE }", ((3, 2, 5, 1), "label rows"))],
    "WarpCtc": [("ctc_loss_param { blank_index: -2 }", ((3, 2, 5), "label rows"))],
    "WarpCtcLoss": [("", ((3, 2, 5), "label rows"))],
}  # fmt: skip
ARRAY_CODE = dict.fromkeys(CATALOGUE, "a recursion over the steps of paths")

RNG = np.random.default_rng(4)
MEAN = "loss_param { normalization: BATCH_SIZE }"


def reading(path: tuple[int, ...], blank: int, merge: bool = True) -> list[int]:
    """What a path reads as."""
    merged = [c for i, c in enumerate(path) if not (merge and i and path[i - 1] == c)]
    return [c for c in merged if c != blank]


def by_all_paths(scores: Any, label: list[int], blank: int, merge: bool = True) -> float:
    """-log of the sum of the probabilities of all paths that read as the label; inf if there is none."""
    steps, classes = scores.shape
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    paths = itertools.product(range(classes), repeat=steps)
    total = sum(p[range(steps), path].prod() for path in paths if reading(path, blank, merge) == label)
    return -float(np.log(total)) if total else np.inf


def rows(labels: list[list[int]], fill: int) -> Any:
    """Labels of different lengths as (N, L)."""
    width = max(1, *map(len, labels))
    return np.array([[*label, *[fill] * (width - len(label))] for label in labels], float)


LABELS = [[1], [], [1, 1], [2, 1], [1, 2, 1], [2, 2]]


@pytest.mark.parametrize("fill", [-1, "blank"])
@pytest.mark.parametrize("blank", [0, 3])
def test_value_is_the_sum_over_all_paths(blank: int, fill: Any) -> None:
    scores = RNG.standard_normal((4, len(LABELS), 4))
    label = rows(LABELS, blank if fill == "blank" else fill)
    one = One(f'type: "CtcLoss" ctc_loss_param {{ blank_label: {blank} }}', scores, label, dtype=np.float64)
    expected = np.mean([by_all_paths(scores[:, n], label, blank) for n, label in enumerate(LABELS)])
    np.testing.assert_allclose(one.forward(), expected, rtol=1e-12)


def test_blanks_inside_a_label_do_not_count() -> None:
    scores = RNG.standard_normal((4, 1, 4))
    values = [One('type: "WarpCTC"', scores, [label]).forward() for label in ([0, 1, 0, -1, 2], [1, 2, 0, 0, 0])]
    assert values[0] == values[1]


def test_without_merging_a_label_takes_one_step() -> None:
    scores = RNG.standard_normal((4, len(LABELS), 3))
    text = 'type: "CtcLoss" ctc_loss_param { ctc_merge_repeated: false }'
    expected = np.mean([by_all_paths(scores[:, n], label, 0, merge=False) for n, label in enumerate(LABELS)])
    np.testing.assert_allclose(One(text, scores, rows(LABELS, 0), dtype=np.float64).forward(), expected, rtol=1e-12)


def test_collapsed_labels() -> None:
    scores = RNG.standard_normal((5, 2, 4))
    text = 'type: "WarpCTC" ctc_loss_param { preprocess_collapse_repeated: true }'
    plain = One('type: "WarpCTC"', scores, [[1, 2, 0, 0], [3, 1, 3, 0]]).forward()
    assert One(text, scores, [[1, 1, 2, 2], [3, 1, 3, -1]]).forward() == plain


def test_marks_steps_and_rows_say_the_same() -> None:
    """A sequence of 3 of 5 steps by marks and by numbers of steps, and alone."""
    scores = RNG.standard_normal((5, 2, 4))
    cont = np.array([[0, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).T  # what stands at the first step does not count
    label = np.array([[1, 2, -1], [2, 2, 1]])
    text = 'type: "CTCLoss" ctc_loss_param { blank_index: 0 }'
    marked = One(text, scores, cont, label.T, dtype=np.float64).forward()
    numbered = One('type: "WarpCTCLoss"', scores, [3, 5], [2, 3], label.T, dtype=np.float64).forward()
    first = One('type: "CtcLoss"', scores[:3, :1], label[:1], dtype=np.float64).forward()
    limited = One(
        'type: "CtcLoss" ctc_loss_param { time_step: 3 }', scores[:, :1], label[:1], dtype=np.float64
    ).forward()
    second = One('type: "CtcLoss"', scores[:, 1:], label[1:], dtype=np.float64).forward()
    np.testing.assert_allclose([marked, numbered, limited], [(first + second) / 2, (first + second) / 2, first])


def test_delay_drops_the_first_steps() -> None:
    scores, label = RNG.standard_normal((5, 2, 4)), [[1, 2], [3, -1]]
    delayed = One(f'type: "CtcLoss" ctc_loss_param {{ output_delay: 2 }} {MEAN}', scores, label, dtype=np.float64)
    cut = One(f'type: "CtcLoss" {MEAN}', scores[2:], label, dtype=np.float64)
    assert delayed.forward() == cut.forward()
    np.testing.assert_array_equal(delayed.backward(1.0), np.concatenate([np.zeros((2, 2, 4)), cut.backward(1.0)]))


@pytest.mark.parametrize(
    ("text", "bottom"),
    [
        (f'type: "CtcLoss" ctc_loss_param {{ blank_label: 3 }} {MEAN}', [rows(LABELS, 3)]),
        (f'type: "CtcLoss" ctc_loss_param {{ time_step: 3 output_delay: 1 }} {MEAN}', [rows(LABELS, 0)]),
        (f'type: "CtcLoss" ctc_loss_param {{ ctc_merge_repeated: false }} {MEAN}', [rows(LABELS, 0)]),
        ('type: "CTCLoss" loss_param { normalization: VALID }',
         [[[0, 0, 0, 1, 0, 1], [1, 0, 1, 1, 1, 1], [1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1]], rows(LABELS, -1).T]),
        ('type: "WarpCTCLoss" loss_param { normalization: NONE }',
         [[4, 2, 3, 0, 4, 1], [1, 0, 2, 2, 3, 2], rows(LABELS, -1).T]),
    ],
)  # fmt: skip
def test_gradient(text: str, bottom: list[Any]) -> None:
    scores = RNG.standard_normal((4, len(LABELS), 4))
    assert check_gradient(text, [scores, *bottom]) == 96


def test_as_in_the_forks_the_gradient_is_that_of_the_sum() -> None:
    """Unless the net says how to divide."""
    scores, label = RNG.standard_normal((4, 3, 4)), [[1], [2], [1]]
    plain, mean = (One(f'type: "CtcLoss" {more}', scores, label) for more in ("", MEAN))
    assert plain.forward() == mean.forward()
    np.testing.assert_allclose(plain.backward(1.0), 3 * mean.backward(1.0), rtol=1e-6)


@pytest.mark.parametrize("kind", ["CtcLoss", "CTCLoss", "WarpCTCLoss"])
def test_a_label_without_a_path_adds_nothing(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """[1, 1] needs three steps, as [1, 2, 3] does: of two steps neither has a path, unlike [1, 2]."""
    scores = RNG.standard_normal((2, 3, 5))
    label = np.array([[1, 1, -1], [1, 2, 3], [1, 2, -1]])
    bottom = [label] if kind != "CTCLoss" else [[[0] * 3, [1] * 3], label.T]
    text = f'type: "{kind}" ctc_loss_param {{ blank_index: 0 }}'
    one = One(text, scores, *bottom, dtype=np.float64)
    for _ in range(2):
        np.testing.assert_allclose(one.forward(), by_all_paths(scores[:, 2], [1, 2], 0) / 3)
    slope = one.backward(1.0)
    assert not slope[:, :2].any()
    assert slope[:, 2].all()
    assert caplog.text.count("2 of 3 labels cannot fit into their sequences") == 1
    valid = One(text + " loss_param { normalization: VALID }", scores, *bottom, dtype=np.float64)
    np.testing.assert_allclose(valid.forward(), by_all_paths(scores[:, 2], [1, 2], 0))


def test_a_column_of_one_step_without_label_is_no_sequence() -> None:
    """As ChWick's batches are filled up; by numbers of steps, a sequence of no steps."""
    scores = RNG.standard_normal((3, 2, 4))
    cont, label = [[0, 0], [1, 0], [1, 0]], [[1, -1], [2, -1]]
    expected = by_all_paths(scores[:, 0], [1, 2], 3) / 2
    marked = One('type: "CTCLoss"', scores, cont, label, dtype=np.float64)
    numbered = One('type: "CTCLoss"', scores, [3, 0], [2, 0], label, dtype=np.float64)
    for one in (marked, numbered):
        np.testing.assert_allclose(one.forward(), expected)
        assert not one.backward(1.0)[:, 1].any()


def test_nan_stays_nan() -> None:
    scores = RNG.standard_normal((3, 2, 4))
    scores[1, 0, 2] = np.nan
    with np.errstate(invalid="ignore"):
        one = One('type: "CtcLoss"', scores, [[1], [2]])
        assert np.isnan(one.forward())
        slope = one.backward(1.0)
    assert np.isnan(slope[:, 0]).any()
    assert np.isfinite(slope[:, 1]).all()


def test_long_sequences_do_not_underflow() -> None:
    """The probability of each path is below the smallest float."""
    scores = np.zeros((400, 1, 50))
    one = One(f'type: "CtcLoss" {MEAN}', scores, [np.arange(1, 40)])
    value = float(one.forward())
    assert 1200 < value < 400 * np.log(50)
    assert np.isfinite(one.backward(1.0)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("blank", [0, 2, 6])
def test_against_torch(dtype: Any, blank: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    steps, n, classes = 12, 7, 7
    scores = RNG.standard_normal((steps, n, classes)) * 3
    lengths = RNG.integers(1, steps + 1, n)
    counts = RNG.integers(0, 5, n)
    label = RNG.choice([c for c in range(classes) if c != blank], (n, 5))
    label[:, 1] = label[:, 0]  # equal neighbours
    text = f'type: "WarpCTCLoss" ctc_loss_param {{ blank_index: {blank} }} loss_param {{ normalization: NONE }}'
    one = One(text, scores, lengths, counts, label.T, dtype=dtype)
    value = float(one.forward())
    x = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    given = (torch.tensor(label), torch.tensor(lengths), torch.tensor(counts))
    loss = torch.nn.CTCLoss(blank, reduction="sum", zero_infinity=True)(torch.log_softmax(x, dim=2), *given)
    loss.backward()
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(value, float(loss.detach()), rtol=tolerance)
    np.testing.assert_allclose(one.backward(1.0), x.grad.numpy(), atol=tolerance)


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("ctc_loss_param { alphabet_size: 5 }", [(3, 2, 4), (2, 2)], "alphabet_size is 5, bottom 0 has 4 classes"),
        (
            "ctc_loss_param { time_step: 4 }",
            [(3, 2, 4), (2, 2)],
            "time_step 4 must be above output_delay 0 and at most 3",
        ),
        ("ctc_loss_param { output_delay: 3 }", [(3, 2, 4), (2, 2)], "time_step 3 must be above output_delay 3"),
        ("ctc_loss_param { blank_label: 4 }", [(3, 2, 4), (2, 2)], "the blank is class 4, the bottom has 4 classes"),
        ("", [(3, 2), (2, 2)], r"needs scores of shape \(T, N, C\), got \(3, 2\)"),
        ("", [(3, 2, 4), (3, 2)], r"bottom 1 must hold the labels of 2 sequences, \(N, L\), got shape \(3, 2\)"),
        (
            "",
            [(3, 2, 4), (3, 2), (2, 3)],
            r"bottom 2 must hold the labels of 2 sequences, \(L, N\), got shape \(2, 3\)",
        ),
        (
            "",
            [(3, 2, 4), (3, 2), (3, 2, 5)],
            r"bottom 2 must hold the labels of 2 sequences, \(L, N\), got shape \(3, 2, 5\)",
        ),
        (
            "",
            [(3, 2, 4), (2, 2), (3, 2)],
            r"bottom 1 says where sequences begin: expected shape \(3, 2\), got \(2, 2\)",
        ),
        (
            "",
            [(3, 2, 4), (3, 2, 5), (3, 2)],
            r"bottom 1 says where sequences begin: expected shape \(3, 2\), got \(3, 2, 5\)",
        ),
        ("", [(3, 2, 4), (2,), (3,), (3, 2)], r"bottom 2 must hold 2 numbers, got shape \(3,\)"),
    ],
)
def test_wrong_shapes(text: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        One(f'type: "CtcLoss" {text}', *map(np.zeros, shapes))


def test_wrong_settings_and_values() -> None:
    scores = np.zeros((3, 2, 4))
    for more, message in (
        ("output_delay: -1", "output_delay must be at least 0, got -1"),
        ("blank_index: 1 blank_label: 2", "blank_index 1 and blank_label 2 are names of one setting"),
    ):
        with pytest.raises(PrototxtError, match=message):
            One(f'type: "CtcLoss" ctc_loss_param {{ {more} }}', scores, [[1], [1]])
    for wrong in (4, -2):
        message = (
            rf'"one" \(CtcLoss\): label {wrong} at position \(1, 0\) is out of range: expected 0 to 3 for 4 classes'
        )
        with pytest.raises(DataError, match=message):
            One('type: "CtcLoss"', scores, [[1], [wrong]]).forward()
    for steps, labels, message in (
        ([3, 4], [1, 1], "numbers of steps must be 0 to 3, got 3 to 4"),
        ([3, 3], [2, -1], "numbers of labels must be 0 to 2, got -1 to 2"),
    ):
        with pytest.raises(DataError, match=message):
            One('type: "WarpCTCLoss"', scores, steps, labels, [[1, 1], [2, 2]]).forward()
