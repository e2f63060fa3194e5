"""The weights that ship, in OpenCV, and the page that says how good they are there."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dragon import TEST, Net
from dragon.graph.means import OutputMeans
from dragon.models.facts import ROOT
from dragon.models.zoo import require_weights
from dragon.proto import dragon_pb2 as pb
from dragon.proto.text import parse_text
from tests.models.accuracies import PAGE, main, opencv_net, score, shipped, table_of
from tests.models.test_opencv import cv2 as cv2  # a fixture

WITHOUT = ("crnn_mnist", "faster_rcnn_scenes")  # end with layers that OpenCV does not have


def test_every_net_whose_weights_ship_has_a_row() -> None:
    rows = table_of(PAGE.read_text(encoding="utf-8"))
    assert list(rows) == list(shipped()), "run make zoo-accuracies"
    for name, recipe in shipped().items():
        seed, _, stated, found, theirs = (cell.strip() for cell in rows[name].split("|")[2:-1])
        assert (int(seed), float(stated)) == (recipe.seed, recipe.accuracy), name
        assert float(found) == recipe.accuracy, name
        assert theirs.startswith("none: ") if name in WITHOUT else float(theirs) == recipe.accuracy, name


@pytest.mark.parametrize("name", [name for name in shipped() if name not in (*WITHOUT, "ssd_shapes")])
def test_opencv_reads_the_weights(name: str, cv2: ModuleType, tmp_path: Path) -> None:
    with Net(ROOT / name / "deploy.prototxt", phase=TEST, weights=require_weights(name), engine="numpy", seed=1) as net:
        images = np.random.default_rng(1).uniform(-1, 1, net.blobs["data"].shape).astype(np.float32)
        (ours,) = net.forward(data=images).values()
    theirs = opencv_net(name, cv2, tmp_path)
    theirs.setInput(images)
    np.testing.assert_allclose(theirs.forward().reshape(ours.shape), ours, rtol=0, atol=1e-5)


def test_what_another_program_found_is_scored() -> None:
    text = """
        layer { name: "data" type: "Input" top: "data" top: "label"
                input_param { shape { dim: 4 dim: 2 } shape { dim: 4 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "data" bottom: "label" top: "loss" }
        layer { name: "accuracy" type: "Accuracy" bottom: "data" bottom: "label" top: "accuracy" }"""
    with Net(parse_text(text, pb.NetParameter()), phase=TEST, engine="numpy", seed=1) as net:
        net.forward(data=np.array([[2, 1]] * 4, np.float32), label=np.array([0, 0, 0, 1], np.float32))
        assert net.blobs["accuracy"].data == 0.75
        scorer = next(node for node in net.nodes if node.name == "accuracy")
        means = OutputMeans(net)
        score(net, scorer, np.array([[0.4, 0.6], [0.9, 0.1], [0.3, 0.7], [0.8, 0.2]])[..., None, None], means)
        assert means.means(1) == {"accuracy": 0.25}


def test_a_wrong_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resnet50"]) == 2
    assert capsys.readouterr().err == "no weights ship for: resnet50\n"
