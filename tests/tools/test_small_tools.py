"""upgrade, draw, parse-log, plot, extract-features, and the tools of batch normalisation, as commands."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from dragon.bases.layer import TEST, TRAIN
from dragon.data import LevelDbReader, LmdbReader, decode_batch
from dragon.files.names import find_item
from dragon.graph.net import Net
from dragon.proto.text import read_net, read_solver
from tests.tools.conftest import Dragon, edit

V1 = """
name: "old" input: "data" input_dim: 1 input_dim: 1 input_dim: 4 input_dim: 4
layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" blobs_lr: 1 blobs_lr: 2
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""
SPLIT = """layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }"""


@pytest.fixture(autouse=True)
def reference_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_ENGINE", "numpy")


@pytest.fixture
def trained(work: Path) -> Path:
    """net.prototxt with BatchNorm and Scale, and net.caffemodel after three training batches."""
    edit(work / "net.prototxt", 'layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }', SPLIT)
    net = Net("net.prototxt", TRAIN, seed=1)
    for _ in range(3):
        net.run_forward()
    net.params["scale"][0].data[...] = [0.5, 1, 2, 3]
    net.params["scale"][1].data[...] = [1, 0, -1, 2]
    net.save("net.caffemodel")
    net.close()
    return work


def test_upgrade(work: Path, dragon: Dragon) -> None:
    (work / "old.prototxt").write_text(V1)
    result = dragon("upgrade", "old.prototxt", "new.prototxt")
    assert result.out == "new.prototxt: net of 2 layers\n"
    assert [layer.type for layer in read_net("new.prototxt").layer] == ["Input", "InnerProduct"]
    (work / "s.prototxt").write_text('net: "x" base_lr: 1 lr_policy: "fixed" solver_type: ADAM')
    assert dragon("upgrade", "s.prototxt", "s2.prototxt").out == "s2.prototxt: solver\n"
    assert read_solver("s2.prototxt").type == "Adam"
    assert 'type: "InnerProduct"' in dragon("upgrade", "old.prototxt", "-").out
    Net("old.prototxt", TEST, seed=1).save("old.caffemodel")
    assert dragon("upgrade", "old.caffemodel", "new.caffemodel").out == "new.caffemodel: weights of 1 layers\n"
    assert Net("new.prototxt", "new.caffemodel", TEST).params["ip"][0].shape == (2, 16)


def test_upgrade_gives_each_warning_once(work: Path, dragon: Dragon) -> None:
    (work / "old.prototxt").write_text(V1 + "input_shape { dim: 1 }")
    (work / "new.prototxt").write_text('layer { name: "x" type: "Input" top: "x" } input_shape { dim: 1 }')
    result = dragon("upgrade", "new.prototxt", "-")
    assert result.err.splitlines() == ["dragon: warning: net input_shape without an input: dropped"]
    edit(work / "net.prototxt", 'type: "BN"', 'type: "BatchNorm" batch_norm_param { decay: 0.9 }')
    edit(work / "net.prototxt", "num_output: 4", "num_output: 4 engine: MKL2017")
    assert [line.split(" ")[1] for line in dragon("upgrade", "net.prototxt", "-").err.splitlines()] == ["warning:"] * 2


def test_upgrade_of_a_dialect(work: Path, dragon: Dragon) -> None:
    """Text and weights of the first Dragon become BN with the same outputs; the solver loses its profile."""
    bn = 'layer { name: "bn" type: "BN" bottom: "conv" top: "conv" }'
    edit(work / "net.prototxt", bn, 'layer{ name:"bn" type:"BatchNorm" bottom:"conv" top:"bn1"}')
    edit(work / "net.prototxt", '"ReLU" bottom: "conv" top: "conv"', '"ReLU" bottom: "bn1" top: "relu"')
    edit(work / "net.prototxt", '"Dropout" bottom: "conv" top: "conv"', '"Dropout" bottom: "relu" top: "drop"')
    edit(work / "net.prototxt", '"InnerProduct" bottom: "conv"', '"InnerProduct" bottom: "drop"')
    result = dragon("train", "--solver", "solver.prototxt", "--profile", "dragon-2016", "--iterations", "5")
    assert result.code == 0, result.err
    weights = "out/x_iter_5.caffemodel"
    assert dragon("upgrade", weights, "new.caffemodel").out == "new.caffemodel: weights of 3 layers\n"
    assert dragon("upgrade", "--profile", "dragon-2016", weights, "new.h5").code == 0
    assert dragon("upgrade", "--profile", "dragon-2016", "net.prototxt", "new.prototxt").code == 0
    assert 'type: "BN"' in (work / "new.prototxt").read_text()
    scores = [
        dragon("test", "--model", model, "--weights", of, "--iterations", "2", *flags).out.splitlines()[3:]
        for model, of, *flags in (
            ("net.prototxt", weights, "--profile", "dragon-2016"),
            ("new.prototxt", "new.caffemodel"),
            ("new.prototxt", "new.h5"),
        )
    ]
    assert scores[0] == scores[1] == scores[2]
    assert any("by global" in line for line in scores[0])
    (work / "solver.prototxt").write_text('profile: "dragon-2016"\n' + (work / "solver.prototxt").read_text())
    result = dragon("upgrade", "solver.prototxt", "new_solver.prototxt")
    assert result.err == "net.prototxt is to be upgraded too: dragon upgrade --profile dragon-2016\n"
    assert "profile" not in (work / "new_solver.prototxt").read_text()


def test_commands_read_a_dialect(work: Path, dragon: Dragon) -> None:
    edit(work / "net.prototxt", 'type: "BN"', 'type: "BatchNorm"')
    flags = ("--profile", "dragon-2016")
    for command in (
        "summarize --model net.prototxt",
        "time --model net.prototxt --iterations 1",
        "time --solver solver.prototxt --iterations 1",
        "lint net.prototxt",
        "draw net.prototxt net.dot",
        "split --model net.prototxt --out-model split.prototxt",
    ):
        result = dragon(*command.split(), *flags)
        assert result.code == 0, (command, result.err)
    assert [layer.type for layer in read_net("split.prototxt").layer][3:5] == ["BatchNorm", "Scale"]
    net = Net("net.prototxt", phase=TRAIN, profile="dragon-2016", seed=1)
    net.run_forward()
    net.save("w.caffemodel")
    net.close()
    common = ("--model", "net.prototxt", "--weights", "w.caffemodel", *flags)
    assert dragon("recalibrate", *common, "--out-weights", "r.caffemodel").code == 0
    assert len(Net("net.prototxt", phase=TEST, weights="r.caffemodel", profile="dragon-2016").params["bn"]) == 4
    result = dragon("fold", *common, "--out-model", "f.prototxt", "--out-weights", "f.h5")
    assert result.out.splitlines()[0] == "folded bn into conv"
    assert "bn" not in Net("f.prototxt", "f.h5", TEST).params
    assert dragon("summarize", "--model", "net.prototxt", "--profile", "dragon2016").error.startswith(
        'unknown profile "dragon2016" (did you mean "dragon-2016"?)'
    )


def test_upgrade_of_what_is_neither(work: Path, dragon: Dragon) -> None:
    (work / "x.prototxt").write_text("nonsense { }")
    assert dragon("upgrade", "x.prototxt", "y.prototxt").error.startswith("x.prototxt:1:1: ")
    (work / "x.prototxt").write_text('base_lr: 1\nlr_polic: "fixed"')
    assert "x.prototxt:2:1" in dragon("upgrade", "x.prototxt", "y.prototxt").error
    assert "cannot be read" in dragon("upgrade", "missing", "y").error
    assert not (work / "y.prototxt").exists()


def test_draw(work: Path, dragon: Dragon) -> None:
    assert dragon("draw", "net.prototxt", "net.dot", "--phase", "train").code == 0
    text = (work / "net.dot").read_text()
    assert "conv_Convolution" in text
    assert "acc_Accuracy" not in text


LOG = """I1121 10:54:00.000000 1 s.py:1] Solving x
I1121 10:54:01.000000 1 s.py:1] Iteration 0, loss = 2
I1121 10:54:01.000000 1 s.py:1]     Train net output #0: loss = 2.5 (* 1 = 2.5 loss)
I1121 10:54:01.000000 1 s.py:1] Iteration 0, lr = 0.5
I1121 10:54:02.000000 1 s.py:1] Iteration 0, Testing net (#0)
I1121 10:54:02.000000 1 s.py:1]     Test net output #0: accuracy = 0.125
"""


def test_parse_log_and_plot(work: Path, dragon: Dragon) -> None:
    (work / "a.log").write_text(LOG)
    assert dragon("parse-log", "a.log", "tables").out.splitlines() == [
        "tables/a.log.train: 1 row", "tables/a.log.test: 1 row",
    ]  # fmt: skip
    assert (work / "tables/a.log.train").read_text() == "NumIters,Seconds,LearningRate,loss\n0,1.0,0.5,2.5\n"
    assert dragon("plot", "a.log", "--out", "a.png").out == "a.png: loss, accuracy\n"
    assert (work / "a.png").read_bytes().startswith(b"\x89PNG")
    result = dragon("plot", "a.log", "--only", "acuracy")
    assert 'no output "acuracy" in the logs (did you mean "accuracy"?)' in result.error
    assert dragon("plot", "a.log", "--out", "a.xyz").code == 2
    assert not (work / "a.xyz").exists()


def test_a_log_of_our_own_is_read(work: Path, dragon: Dragon) -> None:
    trained = dragon("train", "--solver", "solver.prototxt")
    assert trained.code == 0
    (work / "own.log").write_text(trained.out + trained.err)
    dragon("parse-log", "own.log")
    train = np.genfromtxt("own.log.train", delimiter=",", names=True)
    test = np.genfromtxt("own.log.test", delimiter=",", names=True)
    assert train["NumIters"].tolist() == [0, 5, 10, 15, 20]
    assert test["NumIters"].tolist() == [0, 10, 20]
    assert train["LearningRate"][0] == pytest.approx(0.01)
    assert np.isfinite(train["loss"]).all()
    assert ((test["acc"] >= 0) & (test["acc"] <= 1)).all()


def test_extract_features_to_every_form(trained: Path, dragon: Dragon) -> None:
    args = ("extract-features", "--model", "net.prototxt", "--weights", "net.caffemodel", "--batches", "2")
    assert dragon(*args, "--blob", "ip", "--blob", "label", "--out", "f.h5").code == 0
    net = Net("net.prototxt", "net.caffemodel", TEST)
    expected = []
    for _ in range(2):
        net.run_forward()
        expected.append(np.array(net.blobs["ip"].peek()))
    net.close()
    with h5py.File("f.h5") as file:
        np.testing.assert_array_equal(file["ip"][()], np.concatenate(expected))
        assert file["label"].shape == (16,)
    dragon(*args, "--blob", "ip", "--out", "f.npy")
    np.testing.assert_array_equal(np.load("f.npy"), np.concatenate(expected))
    dragon(*args, "--blob", "ip", "--blob", "label", "--out", "f.npz")
    assert sorted(np.load("f.npz").files) == ["ip", "label"]
    assert dragon(*args, "--blob", "ip", "--out", "db").out == "db: ip, 16 rows of 10\n"
    with LmdbReader("db") as reader:
        images, _ = decode_batch(reader.read(16))
    np.testing.assert_array_equal(np.asarray(images)[:, :, 0, 0], np.concatenate(expected))
    assert 'no blob "lable" (did you mean "label"?)' in dragon(*args, "--blob", "lable", "--out", "g.h5").error
    assert "exists already" in dragon(*args, "--blob", "ip", "--out", "db").error


def test_merge_split_and_fold(trained: Path, dragon: Dragon) -> None:
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel")
    result = dragon("merge", *common, "--out-model", "m.prototxt", "--out-weights", "m.caffemodel")
    assert result.code == 0, result.err
    assert result.out.splitlines()[0] == "merged 1: bn"
    assert "proved: " in result.out
    assert Net("m.prototxt", "m.caffemodel", TEST).layer_dict["bn"].type == "BN"
    result = dragon(
        "split", "--caffe", "--model", "m.prototxt", "--weights", "m.caffemodel", "--shape", "3,3,24,24",
        "--out-model", "s.prototxt", "--out-weights", "s.caffemodel",
    )  # fmt: skip
    assert result.code == 0, result.err
    back = Net("s.prototxt", "s.caffemodel", TEST)
    np.testing.assert_array_equal(back.params["scale"][1].data, [1, 0, -1, 2])
    result = dragon("fold", *common, "--out-model", "f.prototxt", "--out-weights", "f.caffemodel")
    assert result.out.splitlines()[0] == "folded bn into conv"
    assert "bn" not in Net("f.prototxt", "f.caffemodel", TEST).layer_dict


def test_nothing_is_written_when_there_is_nothing_to_do(trained: Path, dragon: Dragon) -> None:
    result = dragon("split", "--model", "net.prototxt", "--out-model", "x.prototxt")
    assert result.error == 'net "small" has no BN: nothing to split'
    assert not (trained / "x.prototxt").exists()
    assert "nothing to write" in dragon("merge", "--model", "net.prototxt").error
    assert "--out-weights needs" in dragon("merge", "--model", "net.prototxt", "--out-weights", "x").error


def test_recalibrate(trained: Path, dragon: Dragon) -> None:
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel")
    result = dragon("recalibrate", *common, "--out", "exact.caffemodel")
    assert result.code == 0, result.err
    assert "statistics of 7 batches of 8" in result.out
    exact, old = Net("net.prototxt", "exact.caffemodel", TEST), Net("net.prototxt", "net.caffemodel", TEST)
    assert exact.params["bn"][2].data[0] == 1
    assert not np.allclose(exact.params["bn"][0].data, old.params["bn"][0].data)
    np.testing.assert_array_equal(exact.params["conv"][0].data, old.params["conv"][0].data)


def test_recalibrate_says_which_variance(trained: Path, dragon: Dragon) -> None:
    common = ("recalibrate", "--model", "net.prototxt", "--weights", "net.caffemodel", "--out")
    pooled, batches = dragon(*common, "p.h5"), dragon(*common, "b.h5", "--variance", "batches")
    assert pooled.out.splitlines()[-1].endswith("; variance pooled over all values")
    assert batches.out.splitlines()[-1].endswith("; variance the mean of the batches' variances")
    first, second = (Net("net.prototxt", weights, TEST).params["bn"] for weights in ("p.h5", "b.h5"))
    np.testing.assert_array_equal(first[0].data, second[0].data)
    assert (first[1].data > second[1].data).all()


def test_surgery_writes_hdf5(trained: Path, dragon: Dragon) -> None:
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel", "--out-model", "m.prototxt")
    assert dragon("merge", *common, "--out-weights", "m.caffemodel").code == 0
    assert dragon("merge", *common, "--out-weights", "m.h5").code == 0
    first, second = (Net("m.prototxt", weights, TEST).params for weights in ("m.caffemodel", "m.h5"))
    assert list(first) == list(second)
    for name, blobs in first.items():
        for mine, its in zip(blobs, second[name], strict=True):
            np.testing.assert_array_equal(mine.data, its.data)
    back = ("--model", "m.prototxt", "--weights", "m.h5", "--out-weights", "s.hdf5", "--out-model", "s.prototxt")
    assert dragon("split", *back).code == 0
    assert Net("s.prototxt", "s.hdf5", TEST).params["bn"][0].shape == (4,)


def test_lint(work: Path, dragon: Dragon) -> None:
    result = dragon("lint", "net.prototxt")
    assert (result.code, result.out) == (0, "nothing found\n")
    edit(work / "net.prototxt", "bias_term: false", "")
    result = dragon("lint", "net.prototxt")
    assert result.code == 1
    assert result.out.startswith('net.prototxt:13: layer "conv" (Convolution): "bn" subtracts the mean')
    edit(work / "net.prototxt", "data/synthetic_test_lmdb", "data/none")
    assert 'source "data/none" does not exist' in dragon("lint", "net.prototxt").out


@pytest.mark.parametrize(
    "name",
    [
        "run", "classify", "detect", "convert-imageset", "convert-annoset", "compute-image-mean",
        "extract-features", "upgrade", "draw", "parse-log", "plot", "lint", "merge", "split", "fold",
        "recalibrate", "train", "test", "time", "summarize", "compare", "data", "layers", "device", "demo",
        "caffe-names", "help", "show-data",
    ],
)  # fmt: skip
def test_every_help_has_an_example(dragon: Dragon, name: str) -> None:
    result = dragon(name, "--help")
    assert result.code == 0
    assert f"Example: dragon {name} " in " ".join(result.out.split())


def test_extract_features_of_any_names(work: Path, dragon: Dragon) -> None:
    """A blob's name is no path: inc/a beside inc, what looks like a folder, what is a keyword of np.savez."""
    names = ["inc", "inc/a", "inc_a", "..", "/", "file"]
    layers = ['layer { name: "d" type: "DummyData" top: "inc" dummy_data_param { shape { dim: 2 dim: 3 } } }']
    layers += [
        f'layer {{ name: "l{i}" type: "Power" bottom: "inc" top: "{name}" power_param {{ shift: {i} }} }}'
        for i, name in enumerate(names)
        if i
    ]
    layers.append(
        'layer { name: "p" type: "InnerProduct" bottom: "inc" top: "p" inner_product_param { num_output: 1 } }'
    )
    (work / "n.prototxt").write_text("\n".join(layers))
    Net("n.prototxt", TEST).save("n.caffemodel")
    args = ["extract-features", "--model", "n.prototxt", "--weights", "n.caffemodel", "--batches", "1"]
    for name in names:
        args += ["--blob", name]
    for out in ("f.h5", "f.npz", "db"):
        assert dragon(*args, "--out", out).code == 0
    with h5py.File("f.h5") as file, np.load("f.npz") as archive:
        for i, name in enumerate(names):
            np.testing.assert_array_equal(find_item(file, name)[()], np.full((2, 3), i))
            np.testing.assert_array_equal(archive[name], np.full((2, 3), i))
    found = {}
    for path in Path("db").iterdir():
        with LmdbReader(path) as reader:
            found[path.name] = float(np.asarray(decode_batch(reader.read(2))[0]).mean())
    assert found == {"inc": 0, "inc%2Fa": 1, "inc_a": 2, "%2E%2E": 3, "_": 4, "file": 5}
    result = dragon(*args, "--blob", "file.npy", "--out", "g.npz")
    assert result.error == 'g.npz: NumPy does not tell "file.npy" from "file" in a .npz: choose .h5'


def test_extract_features_as_caffe_takes_its_arguments(trained: Path, dragon: Dragon) -> None:
    line = ("extract_features", "net.caffemodel", "net.prototxt", "ip,label", "a,b", "2", "lmdb", "CPU")
    result = dragon(*line)
    assert (result.code, result.out) == (0, "a: ip, 16 rows of 10\nb: label, 16 rows of 1\n")
    with LmdbReader("a") as reader:
        assert len(reader) == 16
    pytest.importorskip("plyvel", reason="plyvel-ci is not installed")
    assert dragon(*line[:4], "c,d", "2", "LEVELDB").code == 0
    level = LevelDbReader("d")
    assert len(level) == 16
    level.close()
    assert "comes CPU or GPU and its number, got TPU" in dragon(*line[:7], "TPU").error
    assert "--gpu 3" in dragon(*line[:4], "e,f", "2", "lmdb", "GPU", "DEVICE_ID=3").error
    assert dragon(*line[:4], "e", "2", "lmdb").code == 0, "one output for all"
    assert "2 times, got 3" in dragon(*line[:4], "g,h,i", "2", "lmdb").error
    assert "names g twice" in dragon(*line[:4], "g,g", "2", "lmdb").error


@pytest.mark.parametrize(
    ("program", "source", "out"),
    [
        ("upgrade_net_proto_text", "old.prototxt", "n.prototxt"),
        ("upgrade_net_proto_binary", "net.caffemodel", "n.caffemodel"),
        ("upgrade_solver_proto_text", "solver.prototxt", "s.prototxt"),
    ],
)
def test_upgrade_under_the_names_of_caffe(trained: Path, dragon: Dragon, program: str, source: str, out: str) -> None:
    (trained / "old.prototxt").write_text(V1)
    result = dragon(program, source, out)
    assert result.code == 0, result.err
    assert (trained / out).exists()


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ("0", "--gpu 0: "),
        ("0,1", "--gpu 0,1: "),
        ("-1", 'takes the number of a GPU, got "-1"'),
        ("0,", 'got "0,"'),
        ("x", 'got "x"'),
    ],
)
def test_device_query_of_gpus_that_are_not_there(
    dragon: Dragon, monkeypatch: pytest.MonkeyPatch, gpu: str, words: str
) -> None:
    monkeypatch.setattr("dragon.tools.device.cuda_problem", lambda: "no card")
    result = dragon("device_query", "-gpu", gpu)
    assert result.code == 2
    assert words in result.error


def test_device_query_of_all_gpus(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dragon("device_query").code == 0
    monkeypatch.setattr("dragon.tools.device.cuda_problem", lambda: "no card")
    assert dragon("device_query", "-gpu", "all").out.endswith("\nno GPU\n")
    monkeypatch.setattr("dragon.tools.device.cuda_problem", lambda: None)
    monkeypatch.setattr("dragon.tools.device.gpu_count", lambda: 2)
    monkeypatch.setattr("dragon.tools.device._gpu", lambda number: [number, f"Card {number}", "9.0", "80.0"])
    for gpu, cards in (("all", "01"), ("0,1", "01"), ("1", "1")):
        assert [line[0] for line in dragon("device_query", f"-gpu={gpu}").out.splitlines()[-len(cards) :]] == [*cards]
    assert "there is no GPU 2, they are numbered from 0 to 1" in dragon("device_query", "-gpu", "0,2").error


@pytest.mark.parametrize("gpu", ["all", "0,1"])
def test_a_net_runs_on_one_gpu(work: Path, dragon: Dragon, gpu: str) -> None:
    """`dragon train` starts a rank for each of several: tests/tools/test_launch.py."""
    result = dragon("time", "-model", "net.prototxt", "-gpu", gpu)
    assert (result.code, result.error) == (2, f"--gpu {gpu}: a net runs on one GPU, name it by its number")


@pytest.mark.parametrize("shape", ["1,2,3", "104,117,123", "2,3", "1,3,9,9", "1,1,1,1,1,1,1,1,1,1,1,1"])
@pytest.mark.parametrize("command", ["merge", "fold"])
def test_a_shape_for_another_net(trained: Path, dragon: Dragon, command: str, shape: str) -> None:
    common = ("--model", "net.prototxt", "--weights", "net.caffemodel", "--out-model", "m.prototxt")
    result = dragon(command, *common, "--shape", shape)
    assert result.code == 2
    assert "layer" in result.error
    assert "a fault in Dragon" not in result.error
    assert not (trained / "m.prototxt").exists()
