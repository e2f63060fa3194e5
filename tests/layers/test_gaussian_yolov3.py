"""GaussianYolov3 against a loop over the true boxes, and against differences of its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One
from tests.layers.yolo_cases import ROWS, SSD_ROWS, box_of, iou, logistic

BIASES = [12, 14, 23, 27, 37, 58, 81, 82]
SETTINGS = "num: 2 num_class: 3 anchors_scale: 32 mask: 1 mask: 2 " + " ".join(f"biases: {b}" for b in BIASES)
CATALOGUE = {
    "GaussianYolov3": [(f"yolov3_param {{ {SETTINGS} iou_normalizer: 0.5 }}", ((3, 24, 4, 5), "boxes of yolo"))]
}
MAP = np.random.default_rng(5).standard_normal((3, 24, 4, 5)) * 0.7


def text(more: str = "") -> str:
    return f'type: "GaussianYolov3" yolov3_param {{ {SETTINGS} {more} }}'


def looped(thresh: float, further: float, of_box: float, of_overlap: float) -> float:
    """The loss with weights of 1 for the other terms."""
    mask, height, width = [1, 2], 4, 5
    x = MAP.reshape(3, 2, 12, height, width)
    sizes = [(BIASES[2 * n] / (width * 32), BIASES[2 * n + 1] / (height * 32)) for n in range(4)]
    total = 0.0
    for b in range(3):
        rows = [row for row in ROWS[b, 0] if row[3]]
        owned: dict[tuple[int, int, int], set[int]] = {}
        for label, *t in rows:
            i, j = int(t[0] * width), int(t[1] * height)
            like = [iou([0, 0, *size], [0, 0, *t[2:]]) for size in sizes]
            for n in {like.index(max(like)), *(n for n in range(4) if like[n] > further)} & set(mask):
                v = x[b, mask.index(n), :, j, i]
                owned.setdefault((mask.index(n), j, i), set()).add(int(label))
                true = [t[0] * width - i, t[1] * height - j, math.log(t[2] / sizes[n][0]), math.log(t[3] / sizes[n][1])]
                for k in range(4):
                    mean = logistic(v[2 * k]) if k < 2 else v[2 * k]
                    d = logistic(v[2 * k + 1])
                    density = math.exp(-(((true[k] - mean) / d) ** 2) / 2) / (math.sqrt(2 * math.pi) * (d + 0.3))
                    total -= of_overlap * of_box * (2 - t[2] * t[3]) / 2 * math.log(density + 1e-9)
        for a, j, i in np.ndindex(2, height, width):
            v = x[b, a, :, j, i]
            box = box_of(v[[0, 2, 4, 6]], j, i, sizes[mask[a]], (height, width))
            best = max((iou(box, list(row[1:])) for row in rows), default=0)
            labels = owned.get((a, j, i))
            if labels:
                total -= math.log(logistic(v[8]))
                total -= sum(math.log(logistic(v[9 + c]) if c in labels else 1 - logistic(v[9 + c])) for c in range(3))
            elif best <= thresh:
                total -= math.log(1 - logistic(v[8]))
    return total / 3


@pytest.mark.parametrize("labels", [ROWS, SSD_ROWS], ids=["yolo", "ssd"])
@pytest.mark.parametrize(("thresh", "further", "of_box", "of_overlap"), [(0.2, 0.5, 1, 0.25), (0.6, 0.3, 2, 1)])
def test_loss(labels: np.ndarray, thresh: float, further: float, of_box: float, of_overlap: float) -> None:
    settings = (
        f"thresh: {thresh} iou_thresh: {further} coord_scale: {of_box} iou_normalizer: {of_overlap} "
        "object_scale: 1 class_scale: 1 noobject_scale: 1"
    )
    one = One(text(settings), MAP, labels, dtype=np.float64)
    assert float(one.forward()) == pytest.approx(looped(thresh, further, of_box, of_overlap), rel=1e-6)


@pytest.mark.parametrize("more", ["", "use_logic_gradient: true", "iou_thresh: 0.1"])
def test_gradient_is_that_of_the_loss(more: str) -> None:
    assert check_gradient(text(f"{more} thresh: 0.9 max_delta: 1e6"), [MAP, ROWS], most=150, seed=len(more)) == 150


def test_gradients_of_boxes_are_limited() -> None:
    def largest(more: str) -> float:
        one = One(text(f"coord_scale: 500 {more}"), MAP, ROWS, dtype=np.float64)
        one.forward()
        return float(np.abs(one.backward(1.0).reshape(3, 2, 12, 4, 5)[:, :, :8]).max())

    assert largest("max_delta: 1e6") > 5
    assert largest("max_delta: 0.5 iou_thresh: 1") <= 2 * 0.5 / 3  # two true boxes add up in one anchor


def test_errors() -> None:
    for more in ("iou_loss: GIOU", "label_smooth_eps: 0"):
        name = more.partition(":")[0]
        with pytest.raises(PrototxtError, match=f"has no {name}, which Yolov3 has: leave it out"):
            One(text(more), MAP, ROWS)
    with pytest.raises(ShapeError, match=r"expected a map \(N, 24, H, W\), with 9 \+ 3 channels for each of 2 anchors"):
        One(text(), MAP[:, :16], ROWS)
