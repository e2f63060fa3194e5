"""DetectionLoss against the gradient that caffe-yolo's loops write, and against differences of its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from tests.layers.helpers import One
from tests.layers.yolo_cases import iou

SETTINGS = "side: 3 num_class: 4 num_object: 2"
CATALOGUE = {"DetectionLoss": [(f"detection_loss_param {{ {SETTINGS} }}", ((2, 14 * 9), "grid of yolo"))]}
RNG = np.random.default_rng(5)
X = RNG.uniform(0.05, 0.9, (2, 14 * 9))


def labels() -> np.ndarray:
    found = np.zeros((2, 7 * 9))
    objects = (
        (0, 4, 1, (0.5, 0.45, 0.3, 0.5)),
        (0, 2, 3, (0.9, 0.1, 0.15, 0.1)),
        (1, 0, 0, (0.1, 0.2, 0.2, 0.2)),
    )
    for n, place, label, box in objects:
        found[n, 9 + place], found[n, 18 + place] = 1, label
        found[n, 27 + 4 * place : 31 + 4 * place] = box
    return found


def brute(sqrt: bool, inside: bool, scales: tuple[float, float, float, float]) -> np.ndarray:
    of_object, of_none, of_class, of_box = scales
    g = np.zeros_like(X)
    for n, label in enumerate(labels()):
        x, d = X[n].reshape(14, 9), g[n].reshape(14, 9)
        for j in range(9):
            d[4:6, j] = of_none * x[4:6, j]
            if not label[9 + j]:
                continue
            d[:4, j] = of_class * (x[:4, j] - (np.arange(4) == label[18 + j]))
            true = list(label[27 + 4 * j : 31 + 4 * j])
            found = []
            for k in range(2):
                box = list(x[6 + 4 * k : 10 + 4 * k, j])
                if inside:
                    box[:2] = [(j % 3 + box[0]) / 3, (j // 3 + box[1]) / 3]
                if sqrt:
                    box[2:] = [box[2] ** 2, box[3] ** 2]
                found.append((iou(box, true), -math.dist(box, true)))
            best = found.index(max(found, key=lambda one: one[0] if max(found)[0] > 0 else one[1]))
            d[4 + best, j] = of_object * (x[4 + best, j] - found[best][0])
            goal = [true[0] * 3 - j % 3, true[1] * 3 - j // 3, *true[2:]] if inside else list(true)
            if sqrt:
                goal[2:] = [math.sqrt(goal[2]), math.sqrt(goal[3])]
            d[6 + 4 * best : 10 + 4 * best, j] = of_box * (x[6 + 4 * best : 10 + 4 * best, j] - goal)
    return g / 2


@pytest.mark.parametrize("sqrt", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_gradient_is_that_of_the_loops(inside: bool, sqrt: bool) -> None:
    scales = (2, 0.5, 1.5, 5)
    text = (
        f'type: "DetectionLoss" detection_loss_param {{ {SETTINGS} sqrt: {str(sqrt).lower()} '
        f"constriant: {str(inside).lower()} object_scale: 2 noobject_scale: 0.5 class_scale: 1.5 coord_scale: 5 }}"
    )
    one = One(text, X, labels(), dtype=np.float64)
    one.forward()
    np.testing.assert_allclose(one.backward(1.0), brute(sqrt, inside, scales), atol=1e-12)


def test_gradient_is_that_of_the_loss() -> None:
    """Without a term whose target is an overlap, which is a constant in the gradient."""
    text = f'type: "DetectionLoss" detection_loss_param {{ {SETTINGS} object_scale: 0 }}'
    assert check_gradient(text, [X, labels()], most=300) == X.size


def test_errors() -> None:
    text = f'type: "DetectionLoss" detection_loss_param {{ {SETTINGS} }}'
    with pytest.raises(PrototxtError, match="must be at least 1"):
        One(text.replace("side: 3", "side: 0"), X, labels())
    with pytest.raises(ShapeError, match=r"expected labels of 7 \* 3\^2 values"):
        One(text, X, labels()[:, 1:])
    wrong = labels()
    wrong[0, 18 + 4] = 4
    with pytest.raises(DataError, match="class 4 is out of range: expected 0 to 3"):
        One(text, X, wrong).forward()
