from __future__ import annotations

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest

import dragon
from dragon.data import write_lmdb
from dragon.data.lists import read_lines
from dragon.engines.int8.arithmetic import Range
from dragon.engines.int8.table import Calibration
from dragon.errors import WeightsError
from dragon.files.kinds import kind_of
from dragon.pycaffe.io import array_to_blobproto

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "first" type: "InnerProduct" bottom: "x" top: "first" inner_product_param { num_output: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "first" top: "ip" inner_product_param { num_output: 300 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "ip" top: "loss" }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file of each kind that may be mistaken for weights."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s"')
    for ending in ("png", "jpg"):
        PIL.Image.new("RGB", (3, 3)).save(f"image.{ending}")
    np.save("array.npy", np.zeros(3))
    np.savez("arrays.npz", a=np.zeros(3))
    write_lmdb("db", iter([(b"0", b"1")]))
    mean = array_to_blobproto(np.zeros((3, 4, 4)))
    Path("mean.binaryproto").write_bytes(mean.SerializeToString())
    mean.ClearField("shape")
    mean.num, mean.channels, mean.height, mean.width = 1, 3, 4, 4
    Path("old.binaryproto").write_bytes(mean.SerializeToString())
    Path("words.txt").write_text("cat\ndog\n")
    Path("page.caffemodel").write_text("\n<!DOCTYPE html>\n<html><body>Not Found</body></html>")
    Path("old_page.caffemodel").write_text("<HTML><BODY>")
    Path("pointer.caffemodel").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    Path("words_32.txt").write_bytes("cat".encode("utf-32"))
    Calibration("n", "sha256:0", "max", None, 1, {"ip": None, "first": Range(1.0, True)}).save("table.yaml")
    Calibration("n", "sha256:0", "percentile", 99.9, 1, {"ip": None}).save("percentile.yaml")
    shutil.copy(Path(__file__).parents[2] / "docs/experiment.yaml", "experiment.yaml")
    Path("train.log").write_text("I1127 03:02:26.977608 13732 glog.py:79] Iteration 0, loss = 1.09861\n")
    Path("metrics.jsonl").write_text('{"iter": 0, "loss": 1.0}\n')
    Path("random").write_bytes(bytes(range(255, 100, -1)))
    solver = dragon.get_solver("solver.prototxt")
    solver.step(1)
    solver.snapshot()
    return tmp_path


KINDS = {
    "net.prototxt": "the prototxt of a net",
    "solver.prototxt": "the prototxt of a solver",
    "s_iter_1.solverstate": "a .solverstate",
    "mean.binaryproto": "a mean file",
    "old.binaryproto": "a mean file",
    "image.png": "a PNG image",
    "image.jpg": "a JPEG image",
    "array.npy": "a NumPy array",
    "arrays.npz": "a ZIP archive",
    "db": "a folder with an LMDB",
    "db/data.mdb": "the file of an LMDB",
    "words.txt": "a text file",
    "page.caffemodel": "a web page",
    "old_page.caffemodel": "a web page",
    "pointer.caffemodel": "a pointer of Git LFS, without the content: `git lfs pull` fetches it",
    "words_32.txt": "text in UTF-32",
    "table.yaml": "a calibration",
    "percentile.yaml": "a calibration",
    "experiment.yaml": "an experiment",
    "train.log": "the log of a training",
    "metrics.jsonl": "a file of JSON",
}


@pytest.mark.parametrize("name", KINDS)
def test_what_was_given_instead_of_weights_is_named(folder: Path, name: str) -> None:
    with pytest.raises(WeightsError, match=f"{name}: expected weights.*, this is {KINDS[name]}"):
        dragon.Net("net.prototxt", name, dragon.TEST)


@pytest.mark.parametrize("name", ["page.caffemodel", "pointer.caffemodel", "words_32.txt"])
def test_what_was_given_instead_of_other_files_is_named(folder: Path, name: str) -> None:
    kind = re.escape(KINDS[name])
    with pytest.raises(dragon.PrototxtError, match=f"{name}: expected a prototxt, this is {kind}"):
        dragon.Net(name, dragon.TEST)
    with pytest.raises(WeightsError, match=f"{name}: not a solver state, or a damaged one; it is {kind}"):
        dragon.get_solver("solver.prototxt").restore(name)
    with pytest.raises(dragon.DataError, match=f'image list "{name}" is {kind}'):
        read_lines(name, "image list", "a line")


def test_weights_and_unknown_files_are_no_known_kind(folder: Path) -> None:
    assert kind_of("s_iter_1.caffemodel") is None
    assert kind_of("random") is None
    assert kind_of("nowhere") is None
    with pytest.raises(WeightsError, match="random: the file is damaged"):
        dragon.Net("net.prototxt", "random", dragon.TEST)
    with pytest.raises(WeightsError, match="nowhere: no such weights file"):
        dragon.Net("net.prototxt", "nowhere", dragon.TEST)


def test_hdf5_is_read_whatever_its_name(folder: Path) -> None:
    net = dragon.Net("net.prototxt", dragon.TEST)
    net.save_hdf5("weights.caffemodel")
    assert h5py.is_hdf5("weights.caffemodel")
    again = dragon.Net("net.prototxt", "weights.caffemodel", dragon.TEST)
    np.testing.assert_array_equal(again.params["ip"][0].data, net.params["ip"][0].data)


@pytest.mark.parametrize("blob", [0, 1])
def test_a_truncated_file_names_layer_and_blob(folder: Path, blob: int) -> None:
    whole = Path("s_iter_1.caffemodel").read_bytes()
    bias = whole.rindex(b"\x2a\xb0\x09")  # 1,200 bytes of data
    Path("cut.caffemodel").write_bytes(whole[: bias - 2000 if blob == 0 else bias + 100])
    with pytest.raises(WeightsError, match=f'cut.caffemodel: layer "ip" blob {blob}: the file is truncated'):
        dragon.Net("net.prototxt", "cut.caffemodel", dragon.TEST)
