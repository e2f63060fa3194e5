"""RegionLoss against the gradient that MobileNet-YOLO's loops write, and against differences of its loss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, Context
from dragon.errors import DataError, PrototxtError
from dragon.gradient import check_gradient
from tests.layers.helpers import One
from tests.layers.yolo_cases import ROWS, SSD_ROWS, box_of, iou, logistic, random_map

BIASES = [0.8, 1.1, 1.9, 1.2, 4.0, 3.5]
SETTINGS = "num: 3 num_class: 3 " + " ".join(f"biases: {b}" for b in BIASES)
CATALOGUE = {
    "RegionLoss": [
        (f"region_loss_param {{ {SETTINGS} }}", ((3, 24, 4, 5), "boxes of yolo")),
        (f"region_loss_param {{ {SETTINGS} rescore: 0 bias_match: 0 }}", ((3, 24, 4, 5), "boxes of ssd")),
    ]
}
MAP = random_map(3, 3)


def text(more: str = "") -> str:
    return f'type: "RegionLoss" region_loss_param {{ {SETTINGS} {more} }}'


def brute(
    warm: bool, rescore: bool, match: bool, thresh: float, scales: tuple[float, float, float, float]
) -> np.ndarray:
    of_object, of_class, of_none, of_box = scales
    height, width = 4, 5
    x = MAP.reshape(3, 3, 8, height, width)
    g = np.zeros_like(x)
    sizes = [(BIASES[2 * n] / width, BIASES[2 * n + 1] / height) for n in range(3)]

    def pull(d: np.ndarray, v: np.ndarray, goal: list[float], scale: float) -> None:
        for k in range(2):
            p = logistic(v[k])
            d[k] = scale * (p - goal[k]) * p * (1 - p)
        for k in (2, 3):
            d[k] = scale * (v[k] - goal[k])

    for b in range(3):
        rows = [row for row in ROWS[b, 0] if row[3]]
        for a, j, i in np.ndindex(3, height, width):
            v, d = x[b, a, :, j, i], g[b, a, :, j, i]
            box = box_of(v, j, i, sizes[a], (height, width))
            best = max((iou(box, list(row[1:])) for row in rows), default=0)
            p = logistic(v[4])
            d[4] = 0 if best > thresh else of_none * p * p * (1 - p)
            if warm:
                pull(d, v, [0.5, 0.5, 0, 0], 0.01)
        for label, *t in rows:
            i, j = int(t[0] * width), int(t[1] * height)
            shapes = [
                sizes[n] if match else box_of(x[b, n, :, j, i], j, i, sizes[n], (height, width))[2:] for n in range(3)
            ]
            like = [iou([0, 0, *size], [0, 0, *t[2:]]) for size in shapes]
            a = like.index(max(like))
            v, d = x[b, a, :, j, i], g[b, a, :, j, i]
            goal = [t[0] * width - i, t[1] * height - j, math.log(t[2] / sizes[a][0]), math.log(t[3] / sizes[a][1])]
            pull(d, v, goal, of_box * (1 if rescore else 2 - t[2] * t[3]))
            p = logistic(v[4])
            target = iou(box_of(v, j, i, sizes[a], (height, width)), t) if rescore else 1
            d[4] = of_object * (p - target) * p * (1 - p)
            e = np.exp(v[5:] - v[5:].max())
            d[5:] = of_class * (e / e.sum() - (np.arange(3) == int(label)))
    return g.reshape(MAP.shape) / 3


@pytest.mark.parametrize("labels", [ROWS, SSD_ROWS], ids=["yolo", "ssd"])
@pytest.mark.parametrize("rescore", [False, True])
@pytest.mark.parametrize("match", [False, True])
@pytest.mark.parametrize("warm", [False, True])
def test_gradient_is_that_of_the_loops(warm: bool, match: bool, rescore: bool, labels: np.ndarray) -> None:
    scales = (5, 1.5, 0.7, 2)
    settings = (
        f"thresh: 0.3 rescore: {int(rescore)} bias_match: {int(match)} object_scale: {scales[0]} "
        f"class_scale: {scales[1]} noobject_scale: {scales[2]} coord_scale: {scales[3]}"
    )
    one = One(text(settings), MAP, labels, dtype=np.float64)
    one.layer.load_state({"seen": 0 if warm else 12800})
    one.forward()
    np.testing.assert_allclose(one.backward(1.0), brute(warm, rescore, match, 0.3, scales), atol=1e-7)


def test_gradient_is_that_of_the_loss() -> None:
    """Without rescore, whose overlap is a constant in the gradient."""
    assert check_gradient(text("rescore: 0 thresh: 0.9"), [MAP, ROWS], most=150) == 150


def test_the_warm_up_counts_images_and_is_resumed() -> None:
    one = One(text(), MAP, ROWS, dtype=np.float64)
    for _ in range(2):
        one.forward()
    assert one.layer.state() == {"seen": 6}
    test = One(text(), MAP, ROWS, phase=TEST)
    test.forward()
    assert test.layer.state() == {"seen": 0}
    with pytest.raises(DataError, match="holds no seen"):
        one.layer.load_state({})


TREE = [-1, -1, 0, 0, 1, 1, 1, 2, 2]  # the parents of nine classes: 0 and 1 are siblings, 2 and 3 are below 0, ...
LABELS = [7, 3, 6]  # of the labels 0, 1 and 2


def of_nine(folder: Path, more: str) -> One:
    """A loss of nine classes, whose files are in `folder`."""
    (folder / "nine.tree").write_text("".join(f"n{i:08} {parent}\n" for i, parent in enumerate(TREE)))
    (folder / "nine.map").write_text("\n".join(map(str, LABELS)) + "\n")
    settings = text(more).replace("num_class: 3", "num_class: 9")
    return One(settings, random_map(3, 9), ROWS, dtype=np.float64, context=Context(dtype=np.float64, folder=folder))


def true_anchors(one: One) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """The scores, their gradients, and the label of each anchor that has a true box."""
    one.layer.load_state({"seen": 12800})
    one.forward()
    gradient = one.backward(1.0).reshape(3, 3, 14, 4, 5) * 3
    x = one.bottom[0].data.reshape(gradient.shape)
    found = []
    for b in range(3):
        for label, *t in (row for row in ROWS[b, 0] if row[3]):
            i, j = int(t[0] * 5), int(t[1] * 4)
            like = [iou([0, 0, BIASES[2 * n] / 5, BIASES[2 * n + 1] / 4], [0, 0, *t[2:]]) for n in range(3)]
            a = like.index(max(like))
            found.append((x[b, a, 5:, j, i], gradient[b, a, 5:, j, i], int(label)))
    assert len(found) == 5
    return found


def test_classes_of_a_tree(tmp_path: Path) -> None:
    """Darknet's loop: from the true class up to the root, each time the softmax of the siblings."""
    one = of_nine(tmp_path, 'softmax_tree: "nine.tree" class_map: "nine.map" class_scale: 2')
    for scores, gradient, label in true_anchors(one):
        expected, c = np.zeros(9), LABELS[label]
        while c >= 0:
            siblings = [k for k, parent in enumerate(TREE) if parent == TREE[c]]
            e = np.exp(scores[siblings])
            expected[siblings] = 2 * e / e.sum()
            expected[c] -= 2
            c = TREE[c]
        np.testing.assert_allclose(gradient, expected, atol=1e-12)
    without = of_nine(tmp_path, "")
    assert one.top[0].data != without.forward()


def test_a_map_names_the_class_of_each_label(tmp_path: Path) -> None:
    for scores, gradient, label in true_anchors(of_nine(tmp_path, 'class_map: "nine.map"')):
        e = np.exp(scores)
        np.testing.assert_allclose(gradient, e / e.sum() - (np.arange(9) == LABELS[label]), atol=1e-12)
    (tmp_path / "nine.map").write_text("1\n2\n")
    one = One(
        text('class_map: "nine.map"'), MAP, ROWS, context=Context(dtype=np.float64, folder=tmp_path), dtype=np.float64
    )
    with pytest.raises(DataError, match="a class out of range: expected 0 to 1; class 2"):
        one.forward()


def test_a_sigmoid_for_each_class(tmp_path: Path) -> None:
    one = of_nine(tmp_path, "softmax: 0 class_scale: 3")
    for scores, gradient, label in true_anchors(one):
        expected = [3 * (logistic(v) - (k == label)) for k, v in enumerate(scores)]
        np.testing.assert_allclose(gradient, expected, atol=1e-12)


@pytest.mark.parametrize("more", ["softmax: 0", 'softmax_tree: "{}/nine.tree" class_map: "{}/nine.map"'])
def test_gradients_of_other_losses_of_classes(tmp_path: Path, more: str) -> None:
    of_nine(tmp_path, "")
    settings = text("rescore: 0 thresh: 0.9 " + more.format(tmp_path, tmp_path)).replace("num_class: 3", "num_class: 9")
    assert check_gradient(settings, [random_map(3, 9), ROWS], most=200) == 200


def test_faults_of_files(tmp_path: Path) -> None:
    file = tmp_path / "classes"
    for setting, content, message in (
        ("softmax_tree", "a -1\nb 0\nc", r'classes:3: expected "name parent", got "c"'),
        ("softmax_tree", "a -1\nb x\nc 0", r'classes:2: expected "name parent", got "b x"'),
        ("softmax_tree", "a -1\nb 1\nc 0", "classes:2: the parent of class 1 is 1: expected -1 or a class before it"),
        ("softmax_tree", "a -1\n\nb 0", "has 2 classes, num_class is 3"),
        ("class_map", "0\n3\n", 'classes:2: expected a class from 0 to 2, got "3"'),
        ("class_map", "\n", "classes: holds no line"),
        ("class_map", b"\xff\xfe", "cannot be read"),
    ):
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(DataError, match=message) as raised:
            One(text(f'{setting}: "{file}"'), MAP, ROWS)
        assert raised.value.layer is not None
    with pytest.raises(DataError, match='tree of classes "nowhere" does not exist'):
        One(text('softmax_tree: "nowhere"'), MAP, ROWS)


def test_errors() -> None:
    for settings, message in (
        ("coords: 5", "coords must be 4"),
        ("biases: 3", "needs biases"),
        ("num_class: 0", "must be at least 1"),
    ):
        with pytest.raises(PrototxtError, match=message):
            One(text(settings) if "num_class" not in settings else text().replace("num_class: 3", settings), MAP, ROWS)
