"""Yolov3 against the gradient that MobileNet-YOLO's loops write, box by box, and against differences of its loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dragon.bases.box_losses import overlap_loss
from dragon.errors import DataError, PrototxtError, ShapeError
from dragon.gradient import check_gradient
from dragon.proto import dragon_pb2 as pb
from tests.layers.helpers import One
from tests.layers.yolo_cases import ROWS, SSD_ROWS, box_of, iou, logistic, random_map

BIASES = [12, 14, 23, 27, 37, 58, 81, 82]
SETTINGS = "num: 2 num_class: 3 anchors_scale: 32 mask: 1 mask: 2 " + " ".join(f"biases: {b}" for b in BIASES)
CATALOGUE = {
    "Yolov3": [
        (f"yolov3_param {{ {SETTINGS} }}", ((3, 16, 4, 5), "boxes of yolo")),
        (f"yolov3_param {{ {SETTINGS} iou_loss: GIOU use_logic_gradient: true }}", ((3, 16, 4, 5), "boxes of ssd")),
    ]
}
MAP = random_map(2, 3)


def text(more: str = "") -> str:
    return f'type: "Yolov3" yolov3_param {{ {SETTINGS} {more} }}'


def brute(
    logic: bool, focal: bool, thresh: float, further: float, smooth: float, scales: tuple[float, float, float, float]
) -> np.ndarray:
    """The gradient, as the fork's loops write it, of MSE boxes that add up; `further`: iou_thresh."""
    of_object, of_class, of_none, of_box = scales
    mask, n_class, height, width = [1, 2], 3, 4, 5
    x = MAP.reshape(3, 2, 8, height, width)
    g = np.zeros_like(x)
    sizes = [(BIASES[2 * n] / (width * 32), BIASES[2 * n + 1] / (height * 32)) for n in range(4)]
    for b in range(3):
        true = [list(row[1:]) for row in ROWS[b, 0] if row[3]]
        labels = [int(row[0]) for row in ROWS[b, 0] if row[3]]
        for a, j, i in np.ndindex(2, height, width):
            box = box_of(x[b, a, :, j, i], j, i, sizes[mask[a]], (height, width))
            best = max((iou(box, t) for t in true), default=0)
            g[b, a, 4, j, i] = 0 if best > thresh else of_none * logistic(x[b, a, 4, j, i])
        written = set()
        for t, label in zip(true, labels, strict=True):
            i, j = int(t[0] * width), int(t[1] * height)
            like = [iou([0, 0, *size], [0, 0, *t[2:]]) for size in sizes]
            chosen = [like.index(max(like))] + [n for n in range(4) if like[n] > further]
            for n in dict.fromkeys(chosen):
                if n not in mask:
                    continue
                a = mask.index(n)
                v, d = x[b, a, :, j, i], g[b, a, :, j, i]
                s = of_box * (2 - t[2] * t[3])
                d[0] += s * (logistic(v[0]) - (t[0] * width - i))
                d[1] += s * (logistic(v[1]) - (t[1] * height - j))
                d[2] += s * (v[2] - math.log(t[2] / sizes[n][0]))
                d[3] += s * (v[3] - math.log(t[3] / sizes[n][1]))
                d[4] = of_object * (logistic(v[4]) - 1)
                for c in range(n_class):
                    if (a, j, i) in written and c != label:
                        continue
                    target = (1 - smooth) * (c == label) + smooth / 2
                    d[5 + c] = of_class * (logistic(v[5 + c]) - target)
                if focal:
                    p = logistic(v[5 + label]) + 1e-15
                    d[5:] *= 0.5 * (1 - p) * (1 - p - 2 * p * math.log(p))
                written.add((a, j, i))
    if logic:
        p = 1 / (1 + np.exp(-x))
        steps = p * (1 - p)
        steps[:, :, 2:4] = 1
        g *= steps
    return g.reshape(MAP.shape) / 3


@pytest.mark.parametrize("labels", [ROWS, SSD_ROWS, ROWS.reshape(3, 30)], ids=["yolo", "ssd", "flat"])
@pytest.mark.parametrize("logic", [False, True])
@pytest.mark.parametrize(("thresh", "further", "smooth"), [(0.2, 0.5, 0.1), (0.6, 1.0, 0.0), (0.05, 0.3, 0.2)])
def test_gradient_is_that_of_the_loops(
    thresh: float, further: float, smooth: float, logic: bool, labels: np.ndarray
) -> None:
    scales = (5, 1.5, 0.7, 2)
    settings = (
        f"thresh: {thresh} iou_thresh: {further} label_smooth_eps: {smooth} use_logic_gradient: {str(logic).lower()} "
        f"object_scale: {scales[0]} class_scale: {scales[1]} noobject_scale: {scales[2]} coord_scale: {scales[3]}"
    )
    one = One(text(settings), MAP, labels, dtype=np.float64)
    one.forward()
    expected = brute(logic, False, thresh, further, smooth, scales)
    np.testing.assert_allclose(one.backward(1.0), expected, atol=1e-7)


def test_focal_gradient() -> None:
    rows = ROWS.copy()
    rows[0, 0, 1] = 0  # one true box for each anchor
    rows[0, 0, 2] = 0
    one = One(text("use_focal_loss: true thresh: 0.6 iou_thresh: 1"), MAP, rows, dtype=np.float64)
    one.forward()
    found = one.backward(1.0)
    plain = One(text("label_smooth_eps: 0 thresh: 0.6 iou_thresh: 1"), MAP, rows, dtype=np.float64)
    plain.forward()
    rest = plain.backward(1.0)
    shape = (3, 2, 8, 4, 5)
    np.testing.assert_array_equal(found.reshape(shape)[:, :, :5], rest.reshape(shape)[:, :, :5])
    for b, a, j, i in np.argwhere(np.abs(rest.reshape(shape)[:, :, 5:]).sum(axis=2) > 0):
        label = int(rows[b, 0, 1 if (j, i) == (3, 0) else 0, 0])
        p = logistic(MAP.reshape(shape)[b, a, 5 + label, j, i])
        factor = 0.5 * (1 - p) * (1 - p - 2 * p * math.log(p))
        np.testing.assert_allclose(
            found.reshape(shape)[b, a, 5:, j, i], factor * rest.reshape(shape)[b, a, 5:, j, i], rtol=1e-6
        )


# each loss of boxes, and each of the other settings with squares and with an overlap
OF_LOSS = [(kind, "") for kind in ("MSE", "IOU", "GIOU", "DIOU")]
OF_LOSS += [("MSE", "use_logic_gradient: true"), ("GIOU", "use_logic_gradient: true")]
OF_LOSS += [("MSE", "accumulate: false"), ("DIOU", "accumulate: false")]


@pytest.mark.parametrize(("kind", "more"), OF_LOSS)
def test_gradient_is_that_of_the_loss(kind: str, more: str) -> None:
    """At other elements for each case."""
    settings = f"iou_loss: {kind} iou_normalizer: 2 thresh: 0.9 label_smooth_eps: 0.1 {more}"
    assert check_gradient(text(settings), [MAP, ROWS], most=150, seed=OF_LOSS.index((kind, more))) == 150


@pytest.mark.parametrize("kind", ["IOU", "GIOU", "DIOU", "CIOU"])
def test_overlaps(kind: str) -> None:
    """The value by its definition, and the gradient by differences, with alpha held for CIoU."""
    random = np.random.default_rng(3)
    a, b = random.uniform(0.2, 0.8, (2, 40, 4))
    a[0, :2], a[0, 2:] = b[0, :2] + 2, 0.1  # apart
    value, gradient = overlap_loss(a, b, pb.Yolov3Parameter.IOU_LOSS.Value(kind))

    def loss(one: np.ndarray, true: np.ndarray, alpha: float | None = None) -> tuple[float, float]:
        share = iou(list(one), list(true))
        ends = [[v[:2] - v[2:] / 2, v[:2] + v[2:] / 2] for v in (one, true)]
        hull = np.maximum(ends[0][1], ends[1][1]) - np.minimum(ends[0][0], ends[1][0])
        union = (one[2] * one[3] + true[2] * true[3]) / (1 + share)
        apart = ((one[:2] - true[:2]) ** 2).sum() / (hull**2).sum()
        v = 4 / math.pi**2 * (math.atan(true[2] / true[3]) - math.atan(one[2] / one[3])) ** 2
        alpha = v / (1 - share + v) if alpha is None else alpha
        penalty = {"IOU": 0, "GIOU": 1 - union / hull.prod(), "DIOU": apart, "CIOU": apart + alpha * v}[kind]
        return 1 - share + penalty, alpha

    for k in range(40):
        expected, alpha = loss(a[k], b[k])
        assert value[k] == pytest.approx(expected, rel=1e-9)
        for c in range(4):
            step = np.eye(4)[c] * 1e-6
            slope = (loss(a[k] + step, b[k], alpha)[0] - loss(a[k] - step, b[k], alpha)[0]) / 2e-6
            assert gradient[k, c] == pytest.approx(slope, abs=1e-6)


def test_gradients_of_overlaps_are_clipped() -> None:
    one = One(text("iou_loss: IOU iou_normalizer: 1e6 max_delta: 0.5 accumulate: false"), MAP, ROWS, dtype=np.float64)
    one.forward()
    boxes = one.backward(1.0).reshape(3, 2, 8, 4, 5)[:, :, :4] * 3
    assert np.abs(boxes).max() == pytest.approx(0.5)


def test_no_boxes() -> None:
    for rows in (np.zeros((3, 1, 4, 5)), np.full((1, 1, 1, 8), -1.0)):
        one = One(text(), MAP, rows, dtype=np.float64)
        one.forward()
        assert np.count_nonzero(one.backward(1.0)) == 3 * 2 * 20  # the scores of objects


def test_errors() -> None:
    for settings, message in (
        ("mask: 3", "mask must name num anchors, 2, got 3"),
        ("biases: 3", "needs biases"),
        ("anchors_scale: 0", "anchors_scale must be at least 1"),
    ):
        with pytest.raises(PrototxtError, match=message):
            One(text(settings).replace("anchors_scale: 32", "") if "scale" in settings else text(settings), MAP, ROWS)
    with pytest.raises(ShapeError, match=r"expected a map \(N, 16, H, W\)"):
        One(text(), MAP[:, :15], ROWS)
    with pytest.raises(ShapeError, match=r"expected true boxes \(N, 1, T, 5\)"):
        One(text(), MAP, ROWS[:2])
    for column, wrong, message in (
        (0, 3, "a class out of range: expected 0 to 2"),
        (0, 0.5, "a class out of range"),
        (1, 1.5, "no centre in the image"),
    ):
        rows = ROWS.copy()
        rows[0, 0, 1, column] = wrong
        with pytest.raises(DataError, match=f"true box 1 has {message}"):
            One(text(), MAP, rows).forward()
    rows = SSD_ROWS.copy()
    rows[0, 0, 2, 0] = 3
    with pytest.raises(DataError, match="true box 2 has an item out of range: expected 0 to 2"):
        One(text(), MAP, rows).forward()
