"""`dragon import --onnx`: files in, files out, and the messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import dragon as caffe
from tests.tools.conftest import Dragon

onnx = pytest.importorskip("onnx")

from onnx import helper  # noqa: E402

from tests.importing.helpers import c, model  # noqa: E402


@pytest.fixture
def net(tmp_path: Path) -> Path:
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["conv"], name="conv"),
        helper.make_node("Relu", ["conv"], ["out"], name="relu"),
    ]
    path = tmp_path / "small.onnx"
    path.write_bytes(model(nodes, {"data": ("n", 3, 6, 6)}, ["out"], {"w": c(4, 3, 3, 3)}).SerializeToString())
    return path


@pytest.mark.parametrize("output", ["{0}", "{0}/", "{0}/small", "{0}/small.prototxt"])
def test_both_files(output: str, net: Path, tmp_path: Path, dragon: Dragon) -> None:
    result = dragon("import", "--onnx", str(net), "--output", output.format(tmp_path), "--batch", "2")
    assert result.code == 0, result.err
    assert "3 layers: 1 Convolution, 1 Input, 1 ReLU" in result.out
    assert "agree on random data: 1 output, the largest difference is" in result.out
    read = caffe.Net(str(tmp_path / "small.prototxt"), str(tmp_path / "small.caffemodel"), caffe.TEST)
    assert read.blobs["data"].shape == (2, 3, 6, 6)
    np.testing.assert_array_equal(read.params["conv"][0].data, c(4, 3, 3, 3))
    read.close()


def test_files_by_name(net: Path, tmp_path: Path, dragon: Dragon) -> None:
    files = ["--out-model", str(tmp_path / "a.prototxt"), "--out-weights", str(tmp_path / "b.h5")]
    result = dragon("import", "--onnx", str(net), *files, "--input-shape", "data:1,3,9,9", "--no-verify", "--bvlc")
    assert result.code == 0, result.err
    assert "not compared with the ONNX model" in result.out
    assert "dim: 9" in (tmp_path / "a.prototxt").read_text()
    assert (tmp_path / "b.h5").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "say what to read: --onnx"),
        ("--onnx {0}/small.onnx", "nothing to write: give --output, or --out-model and --out-weights"),
        ("--onnx {0}/small.onnx --output {0}/a --out-model {0}/b", "--output names both files"),
        ("--onnx {0}/small.onnx --out-model {0}/small.onnx", "is an input, and would be overwritten"),
        ("--onnx {0}/nobody.onnx --output {0}/a", "nobody.onnx: cannot be read: No such file or directory"),
        ("--onnx {0}/small.onnx --output {0}/a --input-shape 1,x", "--input-shape takes shapes like"),
        ("--onnx {0}/small.onnx --output {0}/a --input-shape 1,3 --input-shape 1,3", "--input-shape is given twice"),
        ("--onnx {0}/small.onnx --output {0}/a --input-shape dat:1,3,6,6", 'no input "dat" (did you mean "data"?)'),
        ("--onnx {0}/small.onnx --output {0}/a --input-shape 1,3,2,2", "the imported net cannot be run: layer"),
        ("--onnx {0}/small.onnx --output {0}/none/a", 'none" does not exist'),
    ],
)
def test_one_line(options: str, words: str, net: Path, tmp_path: Path, dragon: Dragon) -> None:
    result = dragon("import", *options.format(tmp_path).split())
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert words in result.err
    assert [path.name for path in tmp_path.iterdir()] == [net.name]


def test_a_net_that_differs_is_not_written(
    net: Path, tmp_path: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dragon.importing import registry
    from dragon.importing.context import Context

    def wrong(c: Context) -> None:
        c.result(c.layer("TanH", c.blob()))

    monkeypatch.setitem(registry.converters(), "Relu", wrong)
    monkeypatch.setitem(registry._known, "Relu", wrong)
    result = dragon("import", "--onnx", str(net), "--output", str(tmp_path / "a"))
    assert result.code == 2
    assert 'the net differs from the model: output "out" by' in result.err
    assert [path.name for path in tmp_path.iterdir()] == [net.name]


def test_without_the_package(net: Path, tmp_path: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    result = dragon("import", "--onnx", str(net), "--output", str(tmp_path / "a"))
    assert result.code == 2
    assert 'ONNX files need a package: pip install "dragon-caffe[onnx]"' in result.err


def test_without_onnx_runtime_the_reference_runs_the_model(
    net: Path, tmp_path: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = dragon("import", "--onnx", str(net), "--output", str(tmp_path / "a"))
    assert result.code == 0, result.err
    assert "run by onnx.reference" in result.out


def test_an_operator_without_a_form(tmp_path: Path, dragon: Dragon) -> None:
    path = tmp_path / "sine.onnx"
    node = helper.make_node("Sin", ["x"], ["y"], name="wave")
    path.write_bytes(model([node], {"x": (1, 2)}, ["y"]).SerializeToString())
    result = dragon("import", "--onnx", str(path), "--output", str(tmp_path / "a"))
    assert result.code == 2
    assert f'{path}: no form in Caffe: Sin ("wave"): no layer computes it' in result.err
