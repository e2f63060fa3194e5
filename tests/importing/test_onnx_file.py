"""Files that are no ONNX models, and damaged ones, are one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from dragon.errors import PrototxtError
from dragon.importing.convert import import_onnx
from dragon.importing.onnx_file import read_onnx
from dragon.proto import dragon_pb2 as pb
from tests.importing.helpers import c, model


def convolution() -> onnx.ModelProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    return model([node], {"x": (1, 3, 8, 8)}, ["y"], {"w": c(4, 3, 3, 3)})


def outside(folder: Path, location: str, **entries: str) -> Path:
    """A model whose weight lies in another file."""
    made = convolution()
    weight = made.graph.initializer[0]
    content = weight.raw_data
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=value)
    (folder / "model").mkdir()
    (folder / "model" / "weights.bin").write_bytes(b"1234" + content)
    (folder / "secret.bin").write_bytes(content)
    (folder / "model" / "link.bin").symlink_to(folder / "secret.bin")
    path = folder / "model" / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_a_tensor_in_a_file_beside_the_model_is_read(tmp_path: Path) -> None:
    imported = import_onnx(outside(tmp_path, "weights.bin", offset="4", length="432"))
    np.testing.assert_array_equal(imported.model.arrays["conv"][0], c(4, 3, 3, 3))


@pytest.mark.parametrize("location", ["../secret.bin", "link.bin", "", ".", "{}/secret.bin", "a/../../secret.bin"])
def test_a_tensor_outside_of_the_folder_is_not_read(location: str, tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match="outside of the folder of the model"):
        read_onnx(outside(tmp_path, location.format(tmp_path)))


@pytest.mark.parametrize(
    ("location", "entries", "words"),
    [
        ("missing.bin", {}, 'lies in "missing.bin", which cannot be read: No such file'),
        ("weights.bin", {"offset": "8", "length": "432"}, "has 432 bytes from byte 8 .* which has 436 bytes"),
        ("weights.bin", {"offset": "-8"}, "from byte -8"),
        ("weights.bin", {"offset": "many"}, "not a number"),
        ("weights.bin", {"length": "16"}, "has too few values"),
    ],
)
def test_tensors_in_other_files(location: str, entries: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match=words):
        read_onnx(outside(tmp_path, location, **entries))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x00\xff" * 40, "not an ONNX model, or a damaged one"),
        (b'layer { name: "x" type: "Input" }', "the prototxt of a net, not an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG image, not an ONNX model"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "not an ONNX model, or a damaged one"),
    ],
)
def test_other_files(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(PrototxtError, match=words):
        read_onnx(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PrototxtError, match="cannot be read: No such file"):
        read_onnx(tmp_path / "x.onnx")


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    content = convolution().SerializeToString()
    path = tmp_path / "x.onnx"
    for end in range(1, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises(PrototxtError):
            import_onnx(path)


@pytest.mark.parametrize("producer", ["", "pytorch"])
def test_a_model_that_was_cut_off(producer: str, tmp_path: Path) -> None:
    model = convolution()
    model.producer_name = producer
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString()[:-40])
    with pytest.raises(PrototxtError, match=r"x\.onnx: a damaged ONNX model, or one that was cut off$"):
        read_onnx(path)


def test_a_solver_state_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    state = pb.SolverState(iter=7, learned_net="x_iter_7.caffemodel").SerializeToString()
    path.write_bytes(state + b"\x1a\x7f")
    with pytest.raises(PrototxtError, match=r"a \.solverstate, which belongs to --snapshot, not an ONNX model"):
        read_onnx(path)


def test_a_tensor_that_claims_more_values_than_it_has(tmp_path: Path) -> None:
    made = convolution()
    made.graph.initializer[0].dims[0] = 1 << 40
    path = tmp_path / "x.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(PrototxtError, match="has too few values"):
        read_onnx(path)


def test_an_invalid_model_says_what_is_wrong(tmp_path: Path) -> None:
    made = convolution()
    made.graph.node[0].input[0] = "nobody"
    path = tmp_path / "x.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(PrototxtError, match=r"x.onnx: not a valid ONNX model: .*nobody"):
        read_onnx(path)
