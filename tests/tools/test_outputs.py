from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import dragon as package
from dragon.data import write_lmdb
from dragon.errors import UsageError, WeightsError
from dragon.files.atomic import check_writable
from dragon.proto import dragon_pb2 as pb
from dragon.pycaffe.io import array_to_datum
from dragon.surgery.model import Model, write_model
from dragon.tools.common.outputs import check_outputs
from tests.tools.conftest import Dragon

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    package.Net("net.prototxt", package.TEST, engine="numpy").save("w.caffemodel")
    Path("link.caffemodel").symlink_to("w.caffemodel")
    return ["--model", "net.prototxt", "--weights", "w.caffemodel"]


@pytest.mark.parametrize("command", ["merge", "fold"])
@pytest.mark.parametrize(
    "out",
    [
        ["--out-model", "net.prototxt"],
        ["--out-weights", "./w.caffemodel"],
        ["--out-weights", "link.caffemodel"],
        ["--out-model", "same", "--out-weights", "same"],
    ],
)
def test_inputs_are_never_overwritten(dragon: Dragon, files: list[str], command: str, out: list[str]) -> None:
    before = Path("w.caffemodel").read_bytes()
    result = dragon(command, *files, *out)
    assert result.code == 2
    assert "would be overwritten: choose another name" in result.error
    assert (Path("net.prototxt").read_text(), Path("w.caffemodel").read_bytes()) == (NET, before)
    assert not Path("same").exists()


@pytest.mark.parametrize(
    "line",
    [
        "extract-features --model data.prototxt --weights w.h5 --blob conv --batches 1 --out w.h5",
        "extract-features --model data.prototxt --weights w.h5 --blob conv --batches 1 --out link.h5",
        "extract-features --model data.prototxt --weights w.h5 --blob conv --blob x --batches 1 --out c.h5 --out w.h5",
        "compute-image-mean db db/data.mdb",
        "classify --model net.prototxt --weights w.h5 --mean mean.npy --out mean.npy image.png",
        "detect --model net.prototxt --weights w.h5 --out windows.csv windows.csv",
        "draw net.svg net.svg",
        "show-data db map.png --label-map-file map.png",
        "convert-annoset . list.txt new --label-type txt --name-size list.txt",
    ],
)
def test_no_command_overwrites_what_it_reads(dragon: Dragon, files: list[str], line: str) -> None:
    Path("data.prototxt").write_text(NET.replace('"Input"', '"DummyData"').replace("input_param", "dummy_data_param"))
    Path("net.svg").write_text(NET)
    package.Net("net.prototxt", package.TEST, engine="numpy").save("w.h5")
    Path("link.h5").symlink_to("w.h5")
    PIL.Image.new("RGB", (4, 4)).save("image.png")
    Path("windows.csv").write_text("filename,ymin,xmin,ymax,xmax\nimage.png,0,0,4,4\n")
    np.save("mean.npy", np.zeros(3, np.float32))
    Path("map.png").write_text('item { name: "a" label: 1 display_name: "a" }')
    Path("list.txt").write_text("image.png boxes.txt\n")
    Path("boxes.txt").write_text("1 0 0 4 4\n")
    datum = array_to_datum(np.zeros((3, 4, 4), np.uint8), 1)
    write_lmdb("db", iter([(b"0", datum.SerializeToString())]))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    result = dragon(*line.split())
    assert result.code == 2
    assert "is a file that is read as well, and would be overwritten: choose another name" in result.error
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("flag", ["--out-weights", "--out"])
def test_recalibrate_names_its_output_as_the_others_do(dragon: Dragon, files: list[str], flag: str) -> None:
    result = dragon("recalibrate", *files, flag, "w.caffemodel", "--batches", "1")
    assert result.code == 2
    assert "--out-weights w.caffemodel: w.caffemodel is an input" in result.error


def test_other_names_are_fine() -> None:
    check_outputs(["a", None, ""], {"--x": "b", "--y": None, "--z": "c"})
    with pytest.raises(UsageError, match="--y b: --x names it too"):
        check_outputs(["a"], {"--x": "b", "--y": "b"})


@pytest.mark.parametrize("missing", ["--out-model", "--out-weights"])
@pytest.mark.parametrize("command", ["fold", "merge", "split", "bn remove"])
def test_a_folder_that_is_not_there_is_named_first(
    dragon: Dragon, files: list[str], command: str, missing: str
) -> None:
    outputs = {"--out-model": "n.prototxt", "--out-weights": "n.caffemodel"} | {missing: "none/n.caffemodel"}
    result = dragon(*command.split(), *files, *[word for pair in outputs.items() for word in pair])
    assert (result.code, result.out) == (2, "")
    assert result.err == 'dragon: error: none/n.caffemodel: the folder "none" does not exist\n'
    assert not list(Path().glob("n.*"))


def test_weights_that_cannot_be_written_leave_no_net(tmp_path: Path) -> None:
    (tmp_path / "n.caffemodel").mkdir()
    model = Model(pb.NetParameter(name="n"), {})
    with pytest.raises(WeightsError, match="Is a directory"):
        write_model(model, tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    assert [path.name for path in tmp_path.iterdir()] == ["n.caffemodel"]
    with pytest.raises(OSError, match="does not exist"):
        write_model(model, tmp_path / "none" / "n.prototxt", tmp_path / "m.caffemodel")
    assert [path.name for path in tmp_path.iterdir()] == ["n.caffemodel"]


@pytest.mark.parametrize("path", ["none/x", "folder", "file/x"])
def test_a_file_that_could_not_be_written(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=path):
        check_writable(tmp_path / path)
    check_writable(tmp_path / "new")
    check_writable(tmp_path / "file")


_LINES = """
calibrate --model data.prototxt --weights w.h5 --output {0}/x.yaml
extract-features --model data.prototxt --weights w.h5 --blob conv --batches 1 --out {0}/x.npy
extract-features --model data.prototxt --weights w.h5 --blob conv --batches 1 --out {0}/x.h5
extract-features --model data.prototxt --weights w.h5 --blob conv --batches 1 --out {0}/x
compute-image-mean nowhere {0}/x.binaryproto
classify --model net.prototxt --weights nowhere.h5 --out {0}/x.npy nowhere.png
detect --model net.prototxt --weights nowhere.h5 --out {0}/x.csv nowhere.csv
draw nowhere.prototxt {0}/x.svg
show-data nowhere {0}/x.png
convert-annoset . nowhere.txt new --label-type txt --name-size {0}/x
upgrade nowhere.prototxt {0}/x.prototxt
recalibrate --model data.prototxt --weights w.h5 --batches 1 --out {0}/x.h5
export --model net.prototxt --weights w.h5 --onnx {0}/x.onnx
export --model net.prototxt --weights w.h5 --safetensors {0}/x.safetensors
plot nowhere.log --out {0}/x.png
""".strip().splitlines()


@pytest.mark.parametrize("line", _LINES)
def test_the_folder_of_an_output_is_looked_at_first(dragon: Dragon, files: list[str], line: str) -> None:
    Path("data.prototxt").write_text(NET.replace('"Input"', '"DummyData"').replace("input_param", "dummy_data_param"))
    package.Net("net.prototxt", package.TEST, engine="numpy").save("w.h5")
    Path("file").touch()
    for folder, reason in (("none", 'the folder "none" does not exist'), ("file", '"file" is a file, not a folder')):
        result = dragon(*line.format(folder).split())
        path = next(word for word in line.format(folder).split() if word.startswith(folder))
        assert (result.code, result.out) == (2, "")
        assert result.err == f"dragon: error: {path}: {reason}\n"
        assert not Path("none").exists()


@pytest.mark.parametrize(
    "line",
    [
        "export --model net.prototxt --weights w.caffemodel --caffe {0}",
        "detect --model net.prototxt --weights nowhere.h5 --pictures {0} nowhere.jpg",
        "parse-log nowhere.log {0}",
        "caffe-names --dir {0}",
        "compare nowhere.yaml --output {0}",
        "compare nowhere.yaml --store {0}",
        "compare nowhere.yaml --tensorboard {0}",
        "demo --dir {0}",
        "zoo train lenet --output {0}",
    ],
)
def test_a_folder_that_could_not_be_made_is_found_first(dragon: Dragon, files: list[str], line: str) -> None:
    Path("file").touch()
    result = dragon(*line.format("file/new").split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("dragon: error: file/new")
    assert result.err.endswith(': "file" is a file, not a folder\n')
