from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import dragon
from dragon.errors import WeightsError
from dragon.files.kinds import kind_of
from dragon.files.safetensors import layers_of, read_safetensors, write_safetensors
from dragon.files.stored_weights import read_weights

NET = """
name: "two"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer {
  name: "a/b" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
layer { name: "slope" type: "PReLU" bottom: "y" top: "z" prelu_param { channel_shared: true } }
layer { name: "bn" type: "BN" bottom: "z" top: "w" }
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return path


def test_a_net_is_saved_and_loaded(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    net = dragon.Net(model, phase=dragon.TEST, seed=1)
    net.save(path)
    first = path.read_bytes()
    net.save(path)
    assert path.read_bytes() == first
    other = dragon.Net(model, phase=dragon.TEST, weights=path, seed=2)
    for name, blobs in net.params.items():
        for mine, its in zip(other.params[name], blobs, strict=True):
            np.testing.assert_array_equal(mine.peek(), its.peek())
    assert [(name, len(arrays)) for name, arrays in read_weights(path)] == [("a/b", 2), ("slope", 1), ("bn", 5)]
    _, metadata = read_safetensors(path)
    assert metadata["net"] == "two"
    assert json.loads(metadata["layers"]) == [["a/b", "InnerProduct", 2], ["slope", "PReLU", 1], ["bn", "BN", 5]]
    assert kind_of(path) == "a safetensors file"


def test_it_is_recognised_by_its_content(model: Path, tmp_path: Path) -> None:
    net = dragon.Net(model, phase=dragon.TEST, seed=1)
    net.save(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").rename(tmp_path / "w.caffemodel")
    other = dragon.Net(model, phase=dragon.TEST, weights=tmp_path / "w.caffemodel", seed=2)
    np.testing.assert_array_equal(other.params["a/b"][0].peek(), net.params["a/b"][0].peek())


def test_numbers_of_half_precision_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = b'{"a/0":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},'
    header += b'"a/1":{"dtype":"F16","shape":[1],"data_offsets":[4,6]}}'
    header += b" " * (-len(header) % 8)
    values = (np.array([1.5, -2], np.float32).view(np.uint32) >> 16).astype("<u2")
    path.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes() + np.float16(0.5).tobytes())
    ((name, (wide, half)),) = layers_of(path)
    assert (name, wide.tolist(), half.tolist()) == ("a", [1.5, -2], [0.5])


@pytest.mark.parametrize("where", [3, 20, 120, -1])
def test_a_damaged_file_is_one_line(model: Path, tmp_path: Path, where: int) -> None:
    path = tmp_path / "w.safetensors"
    dragon.Net(model, phase=dragon.TEST, seed=1).save(path)
    path.write_bytes(path.read_bytes()[:where])
    with pytest.raises(WeightsError, match=r"w\.safetensors: the file is damaged: [^\n]*$"):
        list(read_weights(path))


def test_a_state_dict_of_pytorch_is_named(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"conv.weight": np.zeros(2, np.float32)}, {})
    with pytest.raises(WeightsError, match=r'holds "conv\.weight", expected blobs named LAYER/0.*--torch-weights'):
        dragon.Net(model, phase=dragon.TEST, weights=path)


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"a/1": np.zeros(2, np.float32)}, {})
    with pytest.raises(WeightsError, match='layer "a" lacks blob 0'):
        list(layers_of(path))


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(WeightsError, match=r'pip install "dragon-caffe\[safetensors\]"'):
        write_safetensors(tmp_path / "w.safetensors", {}, {})
    assert not list(tmp_path.iterdir())
