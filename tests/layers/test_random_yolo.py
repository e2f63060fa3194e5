"""Random maps and true boxes: the losses of YOLO v2 and v3 by their definitions, anchor by anchor.

YOLO=N tries N cases of each; YOLO_START=S begins with seed S.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

from dragon.gradient import check_gradient
from tests.layers.helpers import One
from tests.layers.yolo_cases import box_of, iou, logistic

COUNT = int(os.environ.get("YOLO", "30"))
START = int(os.environ.get("YOLO_START", "0"))
SEEDS = pytest.mark.parametrize("seed", range(START, START + COUNT))
SCALES = ("object_scale", "noobject_scale", "class_scale", "coord_scale")
Place = tuple[int, int, int, int]  # item, anchor, row, column
True_ = tuple[int, list[float]]  # class, box


def cross_entropy(x: float, target: float) -> float:
    return max(x, 0) - x * target + math.log1p(math.exp(-abs(x)))


def squared(x: float, target: float) -> float:
    return (logistic(x) - target) ** 2 / 2


def single(values: Any) -> list[float]:
    """Numbers as settings in 32 bits hold them."""
    found: list[float] = np.float32(values).astype(float).tolist()
    return found


class Case:
    """A map, and true boxes in one of their two forms."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.n, self.anchors, self.classes, self.height, self.width = self.rng.integers(1, [3, 4, 4, 4, 4]).tolist()
        self.true: list[list[True_]] = [
            [
                (int(self.rng.integers(self.classes)), [*self.rng.uniform(0, 1, 2), *self.rng.uniform(0.05, 0.6, 2)])
                for _ in range(int(self.rng.integers(4)))
            ]
            for _ in range(self.n)
        ]
        self.x = self.rng.standard_normal((self.n, self.anchors * (5 + self.classes), self.height, self.width))
        self.map = self.x.reshape(self.n, self.anchors, 5 + self.classes, self.height, self.width)
        self.scale = dict(zip(SCALES, self.rng.choice([0.5, 1, 2, 5], 4).tolist(), strict=True))
        self.thresh = single([self.rng.choice([0.2, 0.6])])[0]

    def labels(self) -> Any:
        if self.rng.random() < 0.5:
            rows = [[-1.0] * 8]
            for item, boxes in enumerate(self.true):
                for label, (x, y, w, h) in boxes:
                    rows.append([item, label + 1, 0, x - w / 2, y - h / 2, x + w / 2, y + h / 2, 0])
            return np.array(rows)[None, None]
        found = np.zeros((self.n, 1, 4, 5))
        for item, boxes in enumerate(self.true):
            for i, (label, box) in enumerate(boxes):
                found[item, 0, i] = [label, *box]
        return found

    def text(self, kind: str, field: str, biases: Any, more: str) -> str:
        scales = " ".join(f"{name}: {value}" for name, value in self.scale.items())
        sides = " ".join(f"biases: {side}" for side in np.ravel(biases))
        return (
            f'type: "{kind}" {field} {{ num: {self.anchors} num_class: {self.classes} thresh: {self.thresh} {scales} '
            f"{sides} {more} }}"
        )

    def box(self, at: Place, size: Any) -> list[float]:
        item, anchor, row, column = at
        values = self.map[item, anchor, :, row, column]
        return box_of(values, row, column, size, (self.height, self.width))

    def place(self, box: list[float]) -> tuple[int, int]:
        return min(int(box[1] * self.height), self.height - 1), min(int(box[0] * self.width), self.width - 1)

    def counts_as_empty(self, at: Place, size: Any) -> bool:
        """Whether the box of an anchor without a true one overlaps none of its image by more than thresh."""
        return all(iou(self.box(at, size), box) <= self.thresh for _, box in self.true[at[0]])

    def places(self) -> Any:
        return np.ndindex(self.n, self.anchors, self.height, self.width)

    def check(self, text: str, labels: Any, expected: float, seen: int = 0) -> None:
        one = One(text, self.x, labels, dtype=np.float64)
        if seen:
            one.layer.load_state({"seen": seen})
        assert float(one.forward()) == pytest.approx(expected / self.n, rel=1e-9)


@SEEDS
def test_region_loss(seed: int) -> None:
    case = Case(seed)
    biases = np.array(single(case.rng.uniform(0.3, 3, (case.anchors, 2))))
    sizes = biases / [case.width, case.height]
    softmax, rescore, by_shape, late = (case.rng.random(4) < 0.5).tolist()
    own: dict[Place, True_] = {}
    for item, boxes in enumerate(case.true):
        for label, box in boxes:
            row, column = case.place(box)
            shapes = [
                sizes[a] if by_shape else case.box((item, a, row, column), sizes[a])[2:] for a in range(len(sizes))
            ]
            shared = [iou([0, 0, *shape], [0, 0, *box[2:]]) for shape in shapes]
            own[item, shared.index(max(shared)), row, column] = label, box
    total, scale = 0.0, case.scale
    for at in case.places():
        item, anchor, row, column = at
        size = sizes[anchor]
        values = case.map[item, anchor, :, row, column].tolist()
        if at not in own:
            total += scale["noobject_scale"] * squared(values[4], 0) * case.counts_as_empty(at, size)
            if not late:
                total += 0.01 * (
                    squared(values[0], 0.5) + squared(values[1], 0.5) + (values[2] ** 2 + values[3] ** 2) / 2
                )
            continue
        label, (x, y, w, h) = own[at]
        total += scale["object_scale"] * squared(values[4], iou(case.box(at, size), [x, y, w, h]) if rescore else 1)
        offsets = squared(values[0], x * case.width - column) + squared(values[1], y * case.height - row)
        offsets += ((values[2] - math.log(w / size[0])) ** 2 + (values[3] - math.log(h / size[1])) ** 2) / 2
        total += scale["coord_scale"] * (1 if rescore else 2 - w * h) * offsets
        if softmax:
            total += scale["class_scale"] * (math.log(np.exp(values[5:]).sum()) - values[5 + label])
        else:
            total += scale["class_scale"] * sum(cross_entropy(v, float(c == label)) for c, v in enumerate(values[5:]))
    more = f"coords: 4 softmax: {int(softmax)} rescore: {int(rescore)} bias_match: {int(by_shape)}"
    case.check(case.text("RegionLoss", "region_loss_param", biases, more), case.labels(), total, 12800 * late)


@SEEDS
def test_yolo_v3(seed: int) -> None:
    case = Case(seed)
    known = case.anchors + int(case.rng.integers(3))
    biases, mask = case.rng.integers(2, 40, (known, 2)), case.rng.permutation(known)[: case.anchors].tolist()
    sizes = biases / [case.width * 8, case.height * 8]
    plain, every = (case.rng.random(2) < 0.5).tolist()
    least, smooth = single([case.rng.choice([1, 0.5, 0.3]), case.rng.choice([0, 0.1])])
    term = squared if plain else cross_entropy
    own: dict[Place, list[True_]] = {}
    for item, boxes in enumerate(case.true):
        for label, box in boxes:
            shared = [iou([0, 0, *size], [0, 0, *box[2:]]) for size in sizes]
            for a, k in enumerate(mask):
                if shared[k] > least or k == shared.index(max(shared)):
                    own.setdefault((item, a, *case.place(box)), []).append((label, box))
    total, scale = 0.0, case.scale
    for at in case.places():
        item, anchor, row, column = at
        size = sizes[mask[anchor]]
        values = case.map[item, anchor, :, row, column].tolist()
        if at not in own:
            total += scale["noobject_scale"] * term(values[4], 0) * case.counts_as_empty(at, size)
            continue
        total += scale["object_scale"] * term(values[4], 1)
        labels = {label for label, _ in own[at]}
        goals = [(1 - smooth) * (c in labels) + smooth / 2 for c in range(case.classes)]
        total += scale["class_scale"] * sum(map(term, values[5:], goals))
        for _, (x, y, w, h) in own[at] if every else own[at][-1:]:
            offsets = term(values[0], x * case.width - column) + term(values[1], y * case.height - row)
            offsets += ((values[2] - math.log(w / size[0])) ** 2 + (values[3] - math.log(h / size[1])) ** 2) / 2
            total += scale["coord_scale"] * (2 - w * h) * offsets
    more = (
        f"anchors_scale: 8 use_logic_gradient: {str(plain).lower()} accumulate: {str(every).lower()} "
        f"iou_thresh: {least} label_smooth_eps: {smooth} {' '.join(f'mask: {k}' for k in mask)}"
    )
    text, labels_of = case.text("Yolov3", "yolov3_param", biases, more), case.labels()
    case.check(text, labels_of, total)
    if seed % 5 == 0:
        check_gradient(text, [case.x, labels_of], most=8)
