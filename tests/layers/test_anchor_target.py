"""AnchorTarget against loops over anchors and true boxes, and its sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.bases.region_source import RegionSource
from dragon.errors import DataError, PrototxtError, ShapeError
from tests.bases.test_anchors import overlap
from tests.layers.helpers import One, goes_on_as

ANCHORS = "feat_stride: 4 base_size: 4 scale: 1 scale: 2"
CATALOGUE = {
    "AnchorTarget": [
        (f"anchor_target_param {{ {ANCHORS} }}", ((1, 4, 5, 5), "true boxes", "image info"), 4),
        (
            f"anchor_target_param {{ {ANCHORS} batch_size: 12 positive_weight: 0.3 clobber_positives: true }}",
            ((1, 4, 5, 5), "true boxes", "image info", (1, 3, 20, 20)),
            4,
        ),
    ]
}
MAP = np.zeros((1, 3, 6, 7))
TRUE = np.array([[2, 3, 9, 10, 1], [12, 8, 19, 20, 2], [20, 1, 27, 7, 1], [20, 1, 27, 7, 2]], float)
INFO = np.array([[24.0, 28.0, 1.0]])


def make(settings: str = "", true: np.ndarray = TRUE, seed: int = 3) -> One:
    return One(f'type: "AnchorTarget" anchor_target_param {{ {ANCHORS} {settings} }}', MAP, true, INFO, n_top=4,
               dtype=np.float64, seed=seed)  # fmt: skip


def anchors_of(one: One) -> np.ndarray:
    assert isinstance(one.layer, RegionSource)
    return one.layer.anchors


def brute(
    one: One, true: np.ndarray, border: float = 0, high: float = 0.7, low: float = 0.3
) -> dict[tuple[int, int, int], tuple[int, list[float]]]:
    """Label before sampling and targets of each anchor, by (anchor, row, column)."""
    found: dict[tuple[int, int, int], tuple[int, list[float]]] = {}
    table = {}
    for y, x, a in np.ndindex(6, 7, len(anchors_of(one))):
        box = anchors_of(one)[a] + np.array([x, y, x, y]) * 4
        if box[0] >= -border and box[1] >= -border and box[2] < 28 + border and box[3] < 24 + border:
            table[a, y, x] = box, [overlap(box, t) for t in true]
    best_of = [max(row[g] for _, row in table.values()) for g in range(len(true))]
    for key, (box, row) in table.items():
        best = max(row)
        label = 0 if best < low else -1
        if any(v == b > 0 for v, b in zip(row, best_of, strict=True)) or best >= high:
            label = 1
        t = true[row.index(best)]
        size, goal = box[2:] - box[:2] + 1, t[2:4] - t[:2] + 1
        d = (t[:2] + goal / 2 - box[:2] - size / 2) / size
        found[key] = label, [*d, *(math.log(g / s) for g, s in zip(goal, size, strict=True))]
    return found


@pytest.mark.parametrize("border", [0, 3, math.inf])
@pytest.mark.parametrize(("high", "low"), [(0.7, 0.3), (0.5, 0.2)])
def test_values(border: float, high: float, low: float) -> None:
    one = make(f"batch_size: 1000 allowed_border: {border} positive_overlap: {high} negative_overlap: {low}")
    one.forward()
    labels, targets, inside, outside = (blob.data for blob in one.top)
    count = len(anchors_of(one))
    assert labels.shape == (1, 1, count * 6, 7)
    assert targets.shape == (1, count * 4, 6, 7)
    expected = brute(one, TRUE, border, high, low)
    valid = sum(label >= 0 for label, _ in expected.values())
    assert {1, 0} <= {label for label, _ in expected.values()}
    for y, x, a in np.ndindex(6, 7, count):
        label, goal = expected.get((a, y, x), (-1, [0, 0, 0, 0]))
        assert labels[0, 0, a * 6 + y, x] == label
        at = slice(a * 4, a * 4 + 4)
        np.testing.assert_allclose(targets[0, at, y, x], goal, atol=1e-12)
        assert (inside[0, at, y, x] == (label == 1)).all()
        np.testing.assert_allclose(outside[0, at, y, x], 1 / valid if label >= 0 else 0)


def test_sampling_is_seeded_and_resumes() -> None:
    one, other = make("batch_size: 10 fg_fraction: 0.3"), make("batch_size: 10 fg_fraction: 0.3", seed=99)
    seen = set()
    for _ in range(5):
        one.forward()
        labels = one.top[0].data
        assert (labels == 1).sum() == 3
        assert (labels == 0).sum() == 7
        assert (one.top[3].data[one.top[3].data > 0] == 0.1).all()
        seen.add(labels.tobytes())
    assert len(seen) > 1
    goes_on_as(one, other)


def test_weights_of_both_labels() -> None:
    one = make(
        "batch_size: 20 positive_weight: 0.25 inside_weight: 1 inside_weight: 2 inside_weight: 3 inside_weight: 4"
    )
    one.forward()
    labels, _, inside, outside = (blob.data for blob in one.top)
    assert outside[:, ::4].sum() == pytest.approx(1)
    positive = labels.reshape(1, -1, 6, 7) == 1
    assert outside[:, ::4][positive].sum() == pytest.approx(0.25)
    for k in range(4):
        assert (inside[:, k::4][positive] == k + 1).all()


def test_negatives_may_win() -> None:
    true = np.array([[2, 3, 3, 4, 1]], float)  # so small that its best anchor has an overlap below 0.3
    for settings, positives in (("", True), ("clobber_positives: true", False)):
        one = make(f"batch_size: 1000 {settings}", true)
        one.forward()
        assert (one.top[0].data == 1).any() == positives


def test_an_image_without_boxes_is_negative() -> None:
    one = make("batch_size: 16", np.zeros((0, 5)))
    one.forward()
    assert (one.top[0].data == 0).sum() == 16
    assert not (one.top[0].data == 1).any()
    assert np.isfinite(one.top[1].data).all()


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (0, 0)])
def test_a_map_without_positions(size: tuple[int, int]) -> None:
    one = One(f'type: "AnchorTarget" anchor_target_param {{ {ANCHORS} }}', np.zeros((1, 2, *size)), TRUE, INFO, n_top=4)
    one.forward()
    count = len(anchors_of(one))
    shapes = [(1, 1, count * size[0], size[1]), *[(1, count * 4, *size)] * 3]
    assert [blob.shape for blob in one.top] == shapes


def test_no_gradient_reaches_the_scores() -> None:
    one = make()
    one.forward()
    one.bottom[0].diff[...] = 5
    one.layer.backward(one.top, [True, False, False], one.bottom)
    assert not one.bottom[0].diff.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("batch_size: 0", "batch_size must be at least 1"),
        ("fg_fraction: 1.5", "fg_fraction must lie in"),
        ("positive_weight: 1", "positive_weight must lie in"),
        ("inside_weight: 1", "inside_weight must have 4 values, got 1"),
        ("ratio: 0", "must be positive"),
    ],
)
def test_settings(settings: str, message: str) -> None:
    with pytest.raises(PrototxtError, match=message):
        make(settings)


def test_bottoms() -> None:
    text = f'type: "AnchorTarget" anchor_target_param {{ {ANCHORS} }}'
    with pytest.raises(ShapeError, match="a map of one image"):
        One(text, np.zeros((2, 3, 4, 4)), TRUE, INFO, n_top=4)
    with pytest.raises(ShapeError, match="rows of 5 values"):
        One(text, MAP, TRUE[:, :4], INFO, n_top=4)
    with pytest.raises(ShapeError, match="height, width and scale"):
        One(text, MAP, TRUE, [[1.0, 2.0]], n_top=4).forward()
    with pytest.raises(DataError, match="the image has size 0 x 28"):
        One(text, MAP, TRUE, [[0.0, 28.0, 1.0]], n_top=4).forward()
    with pytest.raises(DataError, match="true box 0 ends before it begins"):
        One(text, MAP, [[5.0, 5, 4, 9, 1]], INFO, n_top=4).forward()
