"""`dragon test` and `dragon recalibrate`: scores by both kinds of statistics, of ensembles and of detectors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.graph.net import Net
from dragon.tools.common.statistics import BATCH, GLOBAL, statistics_of, use_statistics
from dragon.tools.test import score
from tests.graph.detection_nets import detection_net
from tests.tools.conftest import Dragon, edit


@pytest.fixture
def trained(work: Path, dragon: Dragon) -> str:
    dragon("train", "--solver", "solver.prototxt", "--engine", "numpy")
    return "out/x_iter_20.caffemodel"


def both_scores(out: str, name: str) -> list[str]:
    """As the net says, in Caffe's form, and by the other statistics; each stands there once."""
    own = re.findall(rf"^{name} = ([\d.e+-]+)", out, re.MULTILINE)
    other = re.findall(rf"^{name} +([\d.e+-]+)$", out, re.MULTILINE)
    assert (len(own), len(other)) == (1, 1), out
    return [*own, *other]


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_scores_with_both_kinds_of_statistics(dragon: Dragon, trained: str, engine: str) -> None:
    result = dragon("test", "-model", "net.prototxt", "-weights", trained, "-iterations", "3", "--engine", engine)
    assert result.code == 0
    assert "SYNTHETIC" in result.out
    assert "by global statistics, as the net says:\nLoss: " in result.out
    assert "by batch statistics instead:\noutput " in result.out
    # the same by hand: three batches, all but the BN layer in TEST
    for column, phase in enumerate((TEST, TRAIN)):
        net = Net("net.prototxt", trained, phase=TEST, engine="numpy")
        net.layers[net.layer_index("bn")].phase = phase
        losses, scores = [], []
        for _ in range(3):
            losses.append(net.run_forward())
            scores.append(float(net.blobs["acc"].data))
        net.close()
        assert float(both_scores(result.out, "loss")[column]) == pytest.approx(np.mean(losses), rel=1e-4)
        assert float(both_scores(result.out, "acc")[column]) == pytest.approx(np.mean(scores), rel=1e-4)
    assert both_scores(result.out, "loss")[0] != both_scores(result.out, "loss")[1]


def test_columns_are_named_after_what_the_net_says(work: Path, dragon: Dragon, trained: str) -> None:
    before = dragon("test", "--model", "net.prototxt", "--weights", trained, "--iterations", "2", "--engine", "numpy")
    edit(
        work / "net.prototxt", 'type: "BN"',
        'type: "BN" batch_norm_param { use_global_stats: false }',
    )  # fmt: skip
    after = dragon("test", "--model", "net.prototxt", "--weights", trained, "--iterations", "2", "--engine", "numpy")
    assert "by batch statistics, as the net says:\nLoss: " in after.out
    assert both_scores(after.out, "loss") == both_scores(before.out, "loss")[::-1]


def test_an_ensemble_votes(work: Path, dragon: Dragon, trained: str) -> None:
    more = ["train", "--solver", "solver.prototxt", "--engine", "numpy", "--seed", "9"]
    Path(trained).rename("first.caffemodel")
    dragon(*more)
    Path(trained).rename("second.caffemodel")
    files = ("first.caffemodel", "second.caffemodel")
    result = dragon(
        "test", "--model", "net.prototxt", "--ensemble", files[0], "--ensemble", files[1], "--iterations", "1",
        "--engine", "numpy",
    )  # fmt: skip
    assert result.code == 0, result.error
    nets = [Net("net.prototxt", file, phase=TEST, engine="numpy") for file in files]
    scores = []
    for net, name in zip(nets, ("acc", "net2/acc"), strict=True):
        net.run_forward()
        assert float(both_scores(result.out, name)[0]) == pytest.approx(float(net.blobs["acc"].data), abs=1e-4)
        scores.append(np.exp(net.blobs["ip"].data - net.blobs["ip"].data.max(axis=1, keepdims=True)))
    assert not np.array_equal(*scores)
    mean = sum(s / s.sum(axis=1, keepdims=True) for s in scores)
    right = (np.argmax(mean, axis=1) == nets[0].blobs["label"].data).mean()
    assert float(both_scores(result.out, "ensemble_acc")[0]) == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "W", "--ensemble", "W"], "give either --weights or --ensemble"),
        (["--ensemble", "W"], "--ensemble is given once for each of two nets or more"),
        (["--ensemble", "W", "--ensemble", "none.caffemodel"], "none.caffemodel"),
    ],
)
def test_wrong_ensembles(dragon: Dragon, trained: str, arguments: list[str], message: str) -> None:
    given = [word.replace("W", trained) if word == "W" else word for word in arguments]
    result = dragon("test", "--model", "net.prototxt", *given, "--engine", "numpy")
    assert result.code == 2
    assert message in result.error
    assert "Traceback" not in result.error


def test_running_statistics_are_left_alone(trained: str) -> None:
    net = Net("net.prototxt", trained, phase=TEST, engine="numpy")
    other = Net("net.prototxt", trained, phase=TEST, engine="numpy")
    assert statistics_of(net) == GLOBAL
    use_statistics(other, BATCH)
    assert statistics_of(other) == BATCH
    before = [blob.peek().copy() for blob in net.params["bn"]]
    score([net, other], 2)
    for blob, value in zip(net.params["bn"], before, strict=True):
        np.testing.assert_array_equal(blob.peek(), value)
    for n in (net, other):
        n.close()


def test_a_net_without_batch_normalisation_has_one_score(work: Path, dragon: Dragon) -> None:
    edit(work / "net.prototxt", 'layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }', "")
    dragon("train", "--solver", "solver.prototxt", "--engine", "numpy", "--iterations", "0")
    result = dragon(
        "test", "--model", "net.prototxt", "--weights", "out/x_iter_0.caffemodel", "--engine", "numpy"
    )  # fmt: skip
    assert result.code == 0
    assert "statistics" not in result.out
    assert "output" not in result.out
    assert len(re.findall(r"^acc\b", result.out, re.MULTILINE)) == 1


def test_accuracies_say_what_they_are_of(work: Path, dragon: Dragon, trained: str) -> None:
    line = ["test", "--model", "net.prototxt", "--weights", trained, "--engine", "numpy", "--iterations"]
    both = r"^[\d.]+ % of 16 images, 95 % interval [\d.]+ to [\d.]+ % \(acc\)$"
    assert len(re.findall(both, dragon(*line, "2").out, re.MULTILINE)) == 2
    assert " % of 32 images (24 different), 95 % interval " in dragon(*line, "4").out  # the database has 24
    edit(work / "net.prototxt", 'top: "acc"', 'top: "acc" accuracy_param { ignore_label: 3 }')
    assert re.search(r"^[\d.]+ % of 16 images \(acc\)$", dragon(*line, "2").out, re.MULTILINE)


def test_recalibrate_shows_the_accuracy_before_and_after(work: Path, dragon: Dragon, trained: str) -> None:
    net = ["--model", "net.prototxt", "--engine", "numpy"]
    line = ["recalibrate", *net, "--weights", trained, "--out-weights", "r.caffemodel"]
    out = dragon(*line, "--test-batches", "3").out
    for when, weights in (("before", trained), ("after ", "r.caffemodel")):
        score = dragon("test", *net, "--weights", weights, "--iterations", "3").out
        accuracy = re.findall(r"^[\d.]+ % of .*$", score, re.MULTILINE)[0]
        assert f"{when}  {accuracy}\n" in out
    assert "before" not in dragon(*line, "--test-batches", "0").out
    edit(work / "net.prototxt", "data/synthetic_test_lmdb", "data/gone_lmdb")
    result = dragon(*line)
    assert (result.code, "the accuracy is not measured: " in result.err) == (0, True)


def test_mean_average_precision_of_a_detector(dragon: Dragon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dragon test` prints average precisions of classes, and COCO's scores."""
    pytest.importorskip("pycocotools")
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(detection_net())
    Net("net.prototxt", TRAIN).save("x.caffemodel")
    line = ["test", "--model", "net.prototxt", "--weights", "x.caffemodel", "--iterations", "1", "--coco"]
    printed = dragon(*line, "--ap-version", "11point").out
    assert re.search(r"^1 +2 +0\.8485$", printed, re.MULTILINE)
    assert re.search(r"^2 +0 +0\.0000$", printed, re.MULTILINE)
    assert "classes without boxes count as 0" in printed
    assert "mAP 0.4242 (eval)" in printed
    assert "COCO: AP 0.8" in printed
    found = json.loads(dragon(*line, "--json").out)["scores"][0]["detections"][0]
    assert found["name"] == "eval"
    assert found["mean_average_precision"] == pytest.approx(5 / 12)
    assert found["classes"][0] == {"label": 1, "boxes": 2, "average_precision": pytest.approx(5 / 6)}
    assert found["coco"]["AP50"] == pytest.approx(0.835, abs=0.01)
