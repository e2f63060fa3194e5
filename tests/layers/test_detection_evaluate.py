"""DetectionEvaluate against a loop over detections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError, WeightsError
from tests.layers.helpers import One
from tests.layers.test_detection_output import iou

_SETTINGS = "detection_evaluate_param { num_classes: 3 overlap_threshold: 0.4 }"
CATALOGUE = {"DetectionEvaluate": [(_SETTINGS, ("detections", "boxes"))]}
C = 4
NO_BOX = [-1.0] * 8


def case(seed: int, items: int = 3) -> tuple[Any, Any]:
    """Detections near labels, several of one label, and others; labels of all images but one, some difficult."""
    rng = np.random.default_rng(seed)
    found, labels = [[1.0, -1, -1, -1, -1, -1, -1]], [NO_BOX]
    for item in range(items):
        for i in range(4 if item != 1 else 0):
            low, size = rng.uniform(0, 0.7, 2), rng.uniform(0.1, 0.3, 2)
            label = int(rng.integers(1, C - 1))
            labels.append([item, label, i, *low, *(low + size), i % 2])
            for _ in range(3):
                moved = low + rng.uniform(-0.1, 0.1, 2)
                found.append([item, label + int(rng.integers(2)), rng.uniform(), *moved, *(moved + size)])
        found.append([item, 1, rng.uniform(), 0, 0, 0.1, 0.1])
    return np.array(found), np.array(labels)


def expected(found: Any, labels: Any, difficult: bool, threshold: float = 0.4, overlap: Any = iou) -> list[list[float]]:
    counts = {c: sum(1 for g in labels if g[1] == c and (difficult or not g[7])) for c in range(1, C)}
    rows = [[-1.0, c, count, -1, -1] for c, count in counts.items()]
    used = set()
    for item, label, score, *box in sorted(found.tolist(), key=lambda d: (d[0], d[1], -d[2])):
        if label == -1:
            continue
        best, where = -1.0, -1
        for j, g in enumerate(labels):
            if g[0] == item and g[1] == label and overlap(box, g[3:7]) > best:
                best, where = overlap(box, g[3:7]), j
        verdict = [0, 1]
        if best >= threshold:
            if not difficult and labels[where][7]:
                verdict = [0, 0]
            elif where not in used:
                verdict = [1, 0]
                used.add(where)
        rows.append([item, label, score, *verdict])
    return rows


def one(found: Any, labels: Any, more: str = "") -> One:
    more = more if "overlap_threshold" in more else f"{more} overlap_threshold: 0.4"
    text = f'type: "DetectionEvaluate" detection_evaluate_param {{ num_classes: {C} {more} }}'
    return One(text, found[None, None], labels[None, None], phase=1, dtype=np.float64)


@pytest.mark.parametrize("difficult", [True, False])
def test_values(difficult: bool) -> None:
    for seed in range(5):
        found, labels = case(seed)
        wanted = expected(found, labels, difficult)
        assert {tuple(row[3:]) for row in wanted[C - 1 :]} >= {(1, 0), (0, 1)}
        y = one(found, labels, f"evaluate_difficult_gt: {str(difficult).lower()}").forward()
        np.testing.assert_allclose(y[0, 0], wanted)


def test_detections_of_difficult_labels_are_neither() -> None:
    assert any(
        (one(*case(seed), "evaluate_difficult_gt: false").forward()[0, 0, :, 3:] == 0).all(1).any() for seed in range(5)
    )


def test_overlaps_in_pixels(tmp_path: Path) -> None:
    """A pixel of the border belongs to a box, which counts in small images."""
    (tmp_path / "sizes.txt").write_text("a 20 10\nb 12 8\nc 9 30\nd 5 5\n")
    sizes = {0: (20, 10), 1: (12, 8), 2: (9, 30)}
    found, labels = case(7)

    def in_pixels(item: int) -> Any:
        height, width = sizes[item]
        scale = np.array([width, height, width, height])

        def overlap(a: Any, b: Any) -> float:
            x, y = np.clip(a, 0, 1) * scale, np.clip(b, 0, 1) * scale
            w, h = (min(x[k + 2], y[k + 2]) - max(x[k], y[k]) for k in (0, 1))
            if w < 0 or h < 0:
                return 0.0
            area = [(z[2] - z[0] + 1) * (z[3] - z[1] + 1) for z in (x, y)]
            return float((w + 1) * (h + 1) / (sum(area) - (w + 1) * (h + 1)))

        return overlap

    layer = one(found, labels, f'name_size_file: "{tmp_path}/sizes.txt"')
    wanted: list[list[float]] = []
    for item in sizes:
        some, own = (rows[rows[:, 0] == item] for rows in (found, labels))
        wanted += expected(some, own, True, 0.4, in_pixels(item))[C - 1 :]
    plain = one(found, labels).forward()[0, 0]
    y = layer.forward()[0, 0]
    np.testing.assert_allclose(y[C - 1 :], wanted)
    assert (y != plain).any()
    # the next batch begins with the fourth image, and so does a layer that resumes
    assert layer.layer.state() == {"seen": 3}
    other = one(found, labels, f'name_size_file: "{tmp_path}/sizes.txt"')
    other.layer.load_state({"seen": 3})
    np.testing.assert_array_equal(other.forward(), layer.forward())
    with pytest.raises(WeightsError, match="the stored position 4 is not one of 4 images") as caught:
        other.layer.load_state({"seen": 4})
    assert caught.value.layer == other.layer.where


def test_nothing_found_and_nothing_there() -> None:
    nothing = np.array([[0.0] + [-1] * 6])
    y = one(nothing, np.array([NO_BOX])).forward()
    assert y.tolist() == [[[[-1, c, 0, -1, -1] for c in (1, 2, 3)]]]


def test_the_background_may_be_another_class() -> None:
    found, labels = case(1)
    y = one(found, labels, "background_label_id: 3")
    found[found[:, 1] == 3, 1] = 2
    assert y.forward(found[None, None], labels[None, None])[0, 0, :3, 1].tolist() == [0, 1, 2]


def test_messages(tmp_path: Path) -> None:
    found, labels = case(1)
    with pytest.raises(PrototxtError, match="needs num_classes"):
        One('type: "DetectionEvaluate"', found[None, None], labels[None, None])
    with pytest.raises(PrototxtError, match="overlap_threshold must be positive, got 0"):
        one(found, labels, "overlap_threshold: 0")
    with pytest.raises(ShapeError, match=r"bottom 0 must be the top of DetectionOutput, of shape \(1, 1, boxes, 7\)"):
        one(labels, labels)
    with pytest.raises(ShapeError, match="bottom 1 must be the labels of AnnotatedData"):
        one(found, found)
    with pytest.raises(DataError, match=r'file "nowhere.txt" does not exist'):
        one(found, labels, 'name_size_file: "nowhere.txt"')
    (tmp_path / "sizes.txt").write_text("a 20\n")
    with pytest.raises(DataError, match=r'sizes.txt:1: expected "name height width", got "a 20"'):
        one(found, labels, f'name_size_file: "{tmp_path}/sizes.txt"')
    for wrong in (np.inf, 1e30, 0.5):
        odd = found.copy()
        odd[2, 0] = wrong
        with pytest.raises(DataError, match=re.escape(f"a detection in item {wrong:g}")):
            one(odd, labels).forward()
    found[3, 1] = 4
    with pytest.raises(DataError, match="a detection of class 4: num_classes is 4, background_label_id 0"):
        one(found, labels).forward()
