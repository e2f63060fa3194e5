"""Average precisions against their definitions and against pycocotools."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.errors import UsageError
from dragon.graph.coco_scores import COCO_NAMES, CocoScores
from dragon.graph.detection_scores import AP_VERSIONS, DetectionScores, average_precision, mean_average_precision
from dragon.graph.means import OutputMeans
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text


def curve(scores: Any, true: Any, boxes: int) -> list[tuple[float, float]]:
    """(recall, precision) after each detection."""
    points, hits = [], 0
    for n, i in enumerate(sorted(range(len(scores)), key=lambda i: -scores[i]), 1):
        hits += bool(true[i])
        points.append((hits / boxes, hits / n))
    return points


def by_definition(version: str, points: list[tuple[float, float]]) -> float:
    if version == "11point":
        return sum(max((p for r, p in points if r >= j / 10), default=0) for j in range(11)) / 11
    total, before = 0.0, 0.0
    for k, (recall, precision) in enumerate(points):
        highest = max(p for _, p in points[k:])
        total += (recall - before) * (highest if version == "MaxIntegral" else precision)
        before = recall
    return total


@pytest.mark.parametrize("version", AP_VERSIONS)
def test_average_precision(version: str) -> None:
    rng = np.random.default_rng(2)
    for count, boxes in ((1, 1), (7, 5), (40, 20), (40, 90)):
        scores, true = rng.integers(0, 20, count) / 20, rng.uniform(size=count) < 0.5
        true &= np.cumsum(true) <= boxes
        expected = by_definition(version, curve(scores, true, boxes))
        assert average_precision(scores, true, boxes, version) == pytest.approx(expected)
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3, version) == 0
    assert average_precision(np.ones(2), np.zeros(2, bool), 0, version) == 0
    assert average_precision(np.ones(1), np.ones(1, bool), 1, version) == 1


def test_scores_of_a_whole_test() -> None:
    found = DetectionScores()
    found.add(
        np.array([[-1, 1, 2, -1, -1], [-1, 2, 0, -1, -1], [0, 1, 0.9, 1, 0], [1, 1, 0.8, 0, 1], [1, 1, 0.7, 0, 0]])
    )
    found.add(np.array([[-1, 1, 1, -1, -1], [-1, 2, 0, -1, -1], [0, 1, 0.85, 1, 0], [0, 2, 0.5, 0, 1]]))
    classes = found.classes()
    assert [(c.label, c.boxes) for c in classes] == [(1, 3), (2, 0)]
    assert classes[0].average_precision == pytest.approx(2 / 3)  # a detection that is neither does not count
    assert mean_average_precision(classes) == pytest.approx(1 / 3)


NET = """
layer { name: "image" type: "Input" top: "image" input_param { shape { dim: 1 dim: 3 dim: 100 dim: 200 } } }
layer { name: "found" type: "Input" top: "found" input_param { shape { dim: 1 dim: 1 dim: 1 dim: 7 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 dim: 1 dim: 1 dim: 8 } } }
layer { name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "label" top: "eval"
        detection_evaluate_param { num_classes: 3 MORE } }
layer { name: "prior" type: "PriorBox" bottom: "image" bottom: "image" top: "prior" prior_box_param { min_size: 9 } }
"""


def made(more: str = "", text: str = NET) -> dragon.Net:
    return dragon.Net(parse_text(text.replace("MORE", more), pb.NetParameter()), phase=dragon.TEST, engine="numpy")


def batches(count: int = 6, items: int = 4) -> list[tuple[Any, Any]]:
    """Labels that are far apart, so that VOC's and COCO's ways to match agree; detections moved, doubled and wrong."""
    rng = np.random.default_rng(4)
    result = []
    for _ in range(count):
        found, labels = [], []
        for item in range(items):
            for x in (0.1, 0.6):
                label, box = int(rng.integers(1, 3)), np.array([x, 0.2, x + 0.25, 0.6])
                labels.append([item, label, 0, *box, 0])
                found += [[item, label, rng.uniform(), *(box + rng.uniform(-0.03, 0.06, 4))] for _ in range(2)]
            found.append([item, int(rng.integers(1, 3)), rng.uniform() / 2, 0.4, 0.7, 0.5, 0.9])
        result.append((np.array(found), np.array(labels)))
    return result


def run(net: dragon.Net, data: Any, coco: CocoScores | None = None) -> OutputMeans:
    means = OutputMeans(net, "MaxIntegral")
    for found, labels in data:
        for name, rows in (("found", found), ("label", labels)):
            net.blobs[name].reshape(1, 1, *rows.shape)
            net.blobs[name].data[...] = rows
        net.run_forward()
        means.add(net.output_values())
        if coco is not None:
            coco.add()
    return means


def test_against_pycocotools() -> None:
    pytest.importorskip("pycocotools")
    net = made()
    coco = CocoScores(net)
    means = run(net, batches(), coco)
    scores = coco.scores()
    assert list(scores) == list(COCO_NAMES)
    assert 0.2 < scores["AP"] < scores["AP50"] < 0.95
    rows = means.classes()["eval"]
    assert sum(c.boxes for c in rows) == 6 * 4 * 2
    # COCO's is the mean of the highest precision at 101 recalls: nearly the area under it
    assert float(means.means(6)["eval"]) == pytest.approx(scores["AP50"], abs=0.01)
    own = DetectionScores()
    for found, labels in batches():
        run(net, [(found, labels)])
        own.add(net.blobs["eval"].data)
    exact = []
    for c in (1, 2):
        detections = np.concatenate(own._found)
        detections = detections[detections[:, 0] == c]
        points = curve(detections[:, 1], detections[:, 2], rows[c - 1].boxes)
        exact.append(np.mean([max((p for r, p in points if r >= t), default=0) for t in np.linspace(0, 1, 101)]))
    assert float(np.mean(exact)) == pytest.approx(scores["AP50"], abs=1e-6)


def test_difficult_labels_are_crowds_for_coco() -> None:
    pytest.importorskip("pycocotools")
    found = np.array([[0, 1, 0.9, 0.1, 0.1, 0.4, 0.4], [0, 1, 0.8, 0.5, 0.5, 0.9, 0.9]])
    labels = np.array([[0, 1, 0, 0.1, 0.1, 0.4, 0.4, 1], [0, 1, 0, 0.5, 0.5, 0.9, 0.9, 0]])
    for more, recall in (("evaluate_difficult_gt: false", 1.0), ("", 1.0)):
        net = made(more)
        coco = CocoScores(net)
        run(net, [(found, labels)], coco)
        assert coco.scores()["AR_100"] == pytest.approx(recall)
    nothing = np.array([[0.0] + [-1] * 6])
    net = made()
    coco = CocoScores(net)
    run(net, [(nothing, labels)], coco)
    assert set(coco.scores().values()) == {0.0}


def test_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocotools")
    with pytest.raises(UsageError, match="has no layer DetectionEvaluate, so there are no detections to score"):
        CocoScores(made(text=NET[: NET.index('layer { name: "eval"')]))
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(UsageError, match=r'COCO\'s scores need a package: pip install "dragon-caffe\[coco\]"'):
        CocoScores(made())
