"""`dragon export`: its options, what it writes, and what it refuses in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon.bases.layer import TEST
from dragon.data.mean import write_mean
from dragon.export.onnx import verify
from dragon.export.samples import random_weights
from dragon.graph.net import Net
from tests.tools.conftest import Dragon, edit

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

DEPLOY = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 24 dim: 24 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 5 stride: 4 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def small(work: Path) -> Path:
    """The working directory with deploy.prototxt and w.caffemodel, net.prototxt, which has data, and n.caffemodel."""
    (work / "deploy.prototxt").write_text(DEPLOY)
    edit(work / "net.prototxt", "mirror: true ", "")
    with Net("deploy.prototxt", phase=TEST, engine="numpy", seed=3) as net:
        net.save("w.caffemodel")
    with Net("net.prototxt", phase=TEST, engine="numpy", seed=3) as net:
        random_weights(net)
        net.save("n.caffemodel")
    return work


def run(path: str, **inputs: Any) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value, np.float32) for name, value in inputs.items()})[0]


def expected(x: Any) -> Any:
    with Net("deploy.prototxt", "w.caffemodel", TEST, engine="numpy") as net:
        return np.array(net.forward(data=x)["ip"])


IMAGES = np.random.default_rng(1).integers(0, 256, (2, 3, 24, 24)).astype(np.float32)
MODEL = ("export", "--model", "deploy.prototxt", "--weights", "w.caffemodel", "--onnx", "x.onnx")


def test_writes_and_verifies(small: Path, dragon: Dragon) -> None:
    result = dragon(*MODEL, "--verify")
    assert result.code == 0, result.err
    assert "written: x.onnx, " in result.out
    difference = float(result.out.split("largest relative difference ")[1].split(",")[0])
    assert difference < 1e-5
    np.testing.assert_allclose(run("x.onnx", data=IMAGES), expected(IMAGES), rtol=1e-4, atol=1e-3)


def test_a_net_for_training_loses_its_losses_and_gets_an_input(small: Path, dragon: Dragon) -> None:
    result = dragon("export", "--model", "net.prototxt", "--onnx", "x.onnx")
    assert result.code == 0, result.err
    assert [line for line in result.out.splitlines() if line.startswith(("left out", "folded"))] == [
        'left out: acc (Accuracy), which reads "ip", "label"',
        'left out: loss (SoftmaxWithLoss), which reads "ip", "label"',
        "folded bn into conv",
    ]
    assert "without --weights" in result.err
    model = onnx.load("x.onnx")
    assert [[one.name for one in some] for some in (model.graph.input, model.graph.output)] == [["data"], ["ip"]]
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Flatten", "Gemm"]
    assert dragon("export", "--model", "net.prototxt", "--no-fold-bn", "--onnx", "x.onnx").code == 0
    assert "BatchNormalization" in [node.op_type for node in onnx.load("x.onnx").graph.node]


def test_a_batch_of_any_size(small: Path, dragon: Dragon) -> None:
    assert dragon(*MODEL, "--dynamic-batch", "--opset", "13").code == 0
    assert run("x.onnx", data=IMAGES[:1]).shape == (1, 10)
    assert onnx.load("x.onnx").opset_import[0].version == 13


def test_another_shape(small: Path, dragon: Dragon) -> None:
    assert dragon(*MODEL, "--shape", "5,3,24,24").code == 0
    assert run("x.onnx", data=np.zeros((5, 3, 24, 24))).shape == (5, 10)


def test_preprocessing_inside(small: Path, dragon: Dragon) -> None:
    options = ("--mean", "10,20,30", "--raw-scale", "2", "--input-scale", "0.5", "--channel-swap", "2,1,0", "--verify")
    assert dragon(*MODEL, *options).code == 0
    prepared = (IMAGES[:, ::-1] * 2 - np.array([10, 20, 30]).reshape(1, 3, 1, 1)) * 0.5
    np.testing.assert_allclose(run("x.onnx", data=IMAGES), expected(prepared), rtol=1e-4, atol=1e-3)


def test_a_mean_image_inside(small: Path, dragon: Dragon) -> None:
    mean = np.random.default_rng(2).uniform(0, 255, (3, 24, 24)).astype(np.float32)
    np.save("mean.npy", mean)
    assert dragon(*MODEL, "--mean", "mean.npy").code == 0
    np.testing.assert_allclose(run("x.onnx", data=IMAGES), expected(IMAGES - mean), rtol=1e-4, atol=1e-3)


def test_the_transform_of_the_data_layer_inside(small: Path, dragon: Dragon) -> None:
    given = ("export", "--model", "net.prototxt", "--weights", "n.caffemodel", "--no-fold-bn", "--onnx")
    assert dragon(*given, "plain.onnx").code == 0
    assert dragon(*given, "inside.onnx", "--transform", "--verify").code == 0
    images = np.concatenate([IMAGES] * 4)
    want = run("plain.onnx", data=(images - 128) * 0.01)
    np.testing.assert_allclose(run("inside.onnx", data=images), want, rtol=1e-4, atol=1e-3 * np.abs(want).max())


def test_float16(small: Path, dragon: Dragon) -> None:
    assert dragon(*MODEL, "--fp16", "--verify").code == 0
    want = expected(IMAGES)
    np.testing.assert_allclose(run("x.onnx", data=IMAGES), want, rtol=0, atol=1e-2 * np.abs(want).max())
    types = {tensor.data_type for tensor in onnx.load("x.onnx").graph.initializer}
    assert types == {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64} or types == {onnx.TensorProto.FLOAT16}


def int8_agrees(dragon: Dragon, *source: str) -> None:
    result = dragon(*MODEL, "--int8", *source)
    assert result.code == 0, result.err
    want = expected(IMAGES)
    np.testing.assert_allclose(run("x.onnx", data=IMAGES), want, rtol=0, atol=0.1 * np.abs(want).max())
    kinds = {node.op_type for node in onnx.load("x.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in onnx.load("x.onnx").graph.initializer}


def test_int8_from_an_array_a_database_and_images(small: Path, dragon: Dragon) -> None:
    import PIL.Image

    np.save("data.npy", np.concatenate([IMAGES] * 2))
    int8_agrees(dragon, "--calibration", "data.npy")
    first = Path("x.onnx").read_bytes()
    int8_agrees(dragon, "--calibration", "data.npy")
    assert Path("x.onnx").read_bytes() == first
    Path("pictures").mkdir()
    for i, image in enumerate(IMAGES):
        PIL.Image.fromarray(image[::-1].transpose(1, 2, 0).astype(np.uint8)).save(f"pictures/{i}.png")
    int8_agrees(dragon, "--calibration", "pictures")
    Path("list.txt").write_text("pictures/0.png 1\npictures/1.png 2\n")
    int8_agrees(dragon, "--calibration", "list.txt", "--calibration-batches", "1")


def test_int8_names_calibration_data_that_is_not_finite(small: Path, dragon: Dragon) -> None:
    arguments = ("export", "--model", "deploy.prototxt", "--onnx", "x.onnx", "--int8", "--calibration", "images.npy")
    images = np.ones((40, 3, 24, 24), np.float32)
    for value, message in ((np.nan, "holds NaN or infinity"), (3e38, "a value of the net is NaN or infinite")):
        np.save(small / "images.npy", images * np.float32(value))
        result = dragon(*arguments)
        assert result.code == 2
        assert message in result.error
        assert not (small / "x.onnx").exists()


def test_int8_of_a_deconvolution_with_groups_and_a_bias(small: Path, dragon: Dragon) -> None:
    deconv = """layer { name: "up" type: "Deconvolution" bottom: "data" top: "up" convolution_param {
      num_output: 6 group: 3 kernel_size: 2 stride: 2 weight_filler { type: "xavier" } bias_filler { value: 1 } } }"""
    (small / "up.prototxt").write_text(DEPLOY.partition('layer { name: "conv"')[0] + deconv)
    np.save(small / "images.npy", np.random.default_rng(1).normal(size=(4, 3, 24, 24)))
    result = dragon(
        "export", "--model", "up.prototxt", "--onnx", "x.onnx", "--int8", "--calibration", "images.npy", "--verify"
    )
    assert result.code == 0, result.err
    assert "verified by onnxruntime" in result.out


def test_int8_is_verified_within_its_ranges(small: Path, dragon: Dragon) -> None:
    np.save("data.npy", IMAGES / 1000)  # noise as large as images would be cut off
    result = dragon(*MODEL, "--int8", "--calibration", "data.npy", "--verify")
    assert result.code == 0, result.err
    said, _, rest = result.out.partition(": largest relative difference ")
    assert said.endswith("verified by onnxruntime on a batch of the calibration")
    assert 0 < float(rest.partition(",")[0]) < 0.1


def test_int8_from_the_nets_own_data(small: Path, dragon: Dragon) -> None:
    given = ("export", "--model", "net.prototxt", "--weights", "n.caffemodel", "--int8", "--onnx", "x.onnx")
    for more in ((), ("--transform",), ("--calibration", "data/synthetic_test_lmdb")):
        result = dragon(*given, *more, "--calibration-batches", "2")
        assert result.code == 0, result.err


def test_a_mean_file_beside_the_net_is_found_from_another_folder(
    small: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mean("mean.binaryproto", np.full((3, 32, 32), 128, np.float32))
    edit(small / "net.prototxt", "mean_value: 128", 'mean_file: "mean.binaryproto"')
    (small / "elsewhere").mkdir()
    monkeypatch.chdir(small / "elsewhere")
    given = ("export", "--model", "../net.prototxt", "--weights", "../n.caffemodel", "--onnx", "x.onnx")
    for more in (("--transform", "--verify"), ("--int8", "--calibration", "../data/synthetic_test_lmdb")):
        result = dragon(*given, *more)
        assert result.code == 0, result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model deploy.prototxt", "say what to write: --onnx"),
        ("--model deploy.prototxt --onnx deploy.prototxt", "deploy.prototxt is an input, and would be overwritten"),
        ("--model deploy.prototxt --onnx none/x.onnx", 'none/x.onnx: the folder "none" does not exist'),
        ("--model deploy.prototxt --onnx data", "data: Is a directory"),
        ("--model gone.prototxt --onnx x.onnx", "gone.prototxt"),
        ("--model deploy.prototxt --weights gone.caffemodel --onnx x.onnx", "gone.caffemodel"),
        ("--model deploy.prototxt --onnx x.onnx --opset 12", "--opset"),
        ("--model deploy.prototxt --onnx x.onnx --shape 1,x", '--shape takes numbers like 1,3,32,32, got "1,x"'),
        ("--model deploy.prototxt --onnx x.onnx --shape 1,4,24,24 --weights w.caffemodel", "w.caffemodel"),
        ("--model deploy.prototxt --onnx x.onnx --fp16 --int8", "--fp16 and --int8 exclude each other"),
        ("--model deploy.prototxt --onnx x.onnx --int8", "int8 needs calibration data: --calibration"),
        ("--model deploy.prototxt --onnx x.onnx --int8 --calibration gone", "calibration data gone does not exist"),
        ("--model deploy.prototxt --onnx x.onnx --calibration data", "--calibration is for --int8"),
        ("--model deploy.prototxt --onnx x.onnx --calibration-batches 4", "--calibration-batches is for --int8"),
        ("--model deploy.prototxt --onnx x.onnx --transform", "the net has none"),
        ("--model net.prototxt --onnx x.onnx --transform --mean 1", "give --transform or --mean"),
        ("--model deploy.prototxt --onnx x.onnx --mean 1,2", "a mean of shape (2, 1, 1) does not fit"),
        ("--model deploy.prototxt --onnx x.onnx --channel-swap 1,0", "names 2 channels, the net's input has 3"),
        ("--model python.prototxt --onnx x.onnx", '1 layer has no form in ONNX: "own" (Python) is a program'),
        ("--model python.prototxt --onnx x.onnx", "python.prototxt:"),
        ("--model deploy.prototxt --onnx x.onnx --verify openvin", "--verify"),
    ],
)
def test_refusals(small: Path, dragon: Dragon, arguments: str, message: str) -> None:
    own = 'layer { name: "own" type: "Python" bottom: "ip" top: "own" python_param { module: "m" layer: "L" } }'
    (small / "python.prototxt").write_text(DEPLOY + own)
    before = sorted(path.name for path in small.iterdir())
    result = dragon("export", *arguments.split())
    assert result.code == 2
    assert message in result.error
    assert sorted(path.name for path in small.iterdir()) == before


def test_a_mirror_is_random(small: Path, dragon: Dragon) -> None:
    edit(small / "net.prototxt", "crop_size: 24", "mirror: true crop_size: 24")
    result = dragon("export", "--model", "net.prototxt", "--transform", "--onnx", "x.onnx")
    assert (result.code, "mirrors at random" in result.error) == (2, True)
    assert re.match(r"net\.prototxt:\d+: the transform_param of", result.error)


NORMALISED = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
layer { name: "only" type: "ReLU" bottom: "x" top: "only" include { phase: TRAIN } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "bn" }
layer { name: "p" type: "Dropout" bottom: "bn" top: "p" phase: TRAIN }
layer { name: "q" type: "Dropout" bottom: "p" top: "q" phase: TRAIN }
"""


@pytest.mark.parametrize(
    "how", [["--onnx", "x.onnx"], ["--onnx", "x.onnx", "--no-fold-bn"], ["--torch", "x.py"], ["--caffe", "x"]]
)
def test_refused_layers_have_their_lines(tmp_path: Path, dragon: Dragon, how: list[str]) -> None:
    """Also where layers of TRAIN stood before them, and behind a normalisation that was folded."""
    net = tmp_path / "net.prototxt"
    net.write_text(NORMALISED)
    result = dragon("export", "--model", str(net), *how)
    assert result.code == 2
    assert result.error.startswith(f"{net}:5: "), result.error
    assert " (line 6)" in result.error or "--caffe" in how  # which names the first


def test_a_program_that_is_missing(small: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ImportError

    monkeypatch.setitem(verify.RUNTIMES, "openvino", missing)
    result = dragon(*MODEL, "--verify", "openvino")
    assert (result.code, result.error) == (2, "verifying by openvino needs its package: pip install openvino")
    assert not Path("x.onnx").exists()


def test_another_result_is_an_error(small: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verify.RUNTIMES, "openvino", lambda: lambda path, inputs: {"ip": np.ones((2, 10))})
    result = dragon(*MODEL, "--verify", "openvino")
    assert result.code == 2
    assert 'openvino computes another "ip": relative difference' in result.error
