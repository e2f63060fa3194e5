"""Files that are no state_dict of PyTorch are named as what they are, whether PyTorch is there or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dragon.errors import WeightsError
from dragon.export.torch.read_state import read_state
from dragon.files.safetensors import layer_tensors, write_safetensors
from dragon.proto import dragon_pb2 as pb


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))
    (tmp_path / "x.prototxt").write_text('layer { name: "x" type: "ReLU" }')
    layer = pb.LayerParameter(name="ip", type="InnerProduct", blobs=[pb.BlobProto(data=[1.0])])
    (tmp_path / "x.caffemodel").write_bytes(pb.NetParameter(name="n", layer=[layer]).SerializeToString())
    for name, kind in (
        ("x.npy", "a NumPy array"),
        ("x.prototxt", "the prototxt of a net"),
        ("x.caffemodel", ".caffemodel"),
    ):
        with pytest.raises(WeightsError, match=rf"expected a state_dict of PyTorch, this is .*{kind}"):
            read_state(tmp_path / name)


def test_counts_of_batches_are_left_out_whatever_their_type(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    stored = {"bn.weight": np.ones(2, np.float16), "bn.num_batches_tracked": np.array(3, np.float16)}
    numpy.save_file(stored, tmp_path / "x.safetensors")
    assert list(read_state(tmp_path / "x.safetensors")) == ["bn.weight"]


def test_tensors_that_numpy_does_not_hold(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "sparse.pth")
    np.testing.assert_array_equal(read_state(tmp_path / "sparse.pth")["a"], np.eye(3))
    torch.save({"a": torch.empty(3, device="meta")}, tmp_path / "meta.pth")
    with pytest.raises(WeightsError, match=r'"a" has no values'):
        read_state(tmp_path / "meta.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(WeightsError, match=r"holds more than tensors, as a whole module does .write m.state_dict"):
        read_state(tmp_path / "module.pth")


def test_weights_of_ours_are_no_state_dict(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    arrays, metadata = layer_tensors("n", [("ip", "InnerProduct", [np.ones((2, 2), np.float32)])])
    write_safetensors(tmp_path / "x.safetensors", arrays, metadata)
    with pytest.raises(WeightsError, match=r"these are weights as .* writes them, which every --weights reads$"):
        read_state(tmp_path / "x.safetensors")
