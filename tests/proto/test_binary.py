"""Weights files: round trips against protobuf itself, old forms, and damage of every kind."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.errors import WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers, write_caffemodel
from dragon.proto.binary_net import read_binary_net
from dragon.proto.blobs import array_to_blobproto
from dragon.proto.text import parse_text


def saved(path: Path, net: pb.NetParameter) -> Path:
    path.write_bytes(net.SerializeToString())
    return path


def small() -> pb.NetParameter:
    net = pb.NetParameter(name="small")
    net.layer.add(
        name="conv", type="Convolution", blobs=[array_to_blobproto(np.arange(6, dtype=np.float32).reshape(2, 3))]
    )
    net.layer.add(name="relu", type="ReLU")
    return net


def test_written_files_are_what_protobuf_reads(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    net = parse_text(
        """name: "n" state { phase: TRAIN } force_backward: true
        layer { name: "a" type: "InnerProduct" bottom: "x" top: "y" blobs { data: 9 }
                inner_product_param { num_output: 2 } }
        layer { name: "b" type: "ReLU" }""",
        pb.NetParameter(),
    )
    rng = np.random.default_rng(0)
    single, double = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=4)
    half = single.astype(np.float16)
    write_caffemodel(path, net, {"a": [single, double, half[:, ::2]]}, {"a": [single + 1, double + 1, half[:, ::2]]})
    read = pb.NetParameter.FromString(path.read_bytes())
    assert [len(x.blobs) for x in read.layer] == [3, 0]
    a = read.layer[0]
    assert list(a.blobs[0].data) == list(single.ravel())
    assert list(a.blobs[0].diff) == list((single + 1).ravel())
    assert list(a.blobs[1].double_data) == list(double)
    assert list(a.blobs[2].data) == list(half[:, ::2].astype(np.float32).ravel())
    assert list(a.blobs[2].shape.dim) == [2, 2]
    del a.blobs[:], net.layer[0].blobs[:]
    assert read == net


@pytest.mark.parametrize("diffs", [False, True])
def test_round_trip(tmp_path: Path, diffs: bool) -> None:
    path = tmp_path / "w.caffemodel"
    net = small()
    arrays: list[NDArray[Any]] = [
        np.full((3, 1), 2, np.float32),
        np.full(2, 3.0),
        np.array(4, np.float32),
        np.empty((0, 2), np.float32),
    ]
    write_caffemodel(path, net, {"conv": arrays}, {"conv": [-a for a in arrays]})
    first, second = iter_layers(path, diffs=diffs)
    assert (first.name, first.type, second.name, second.blobs) == ("conv", "Convolution", "relu", [])
    for got, array in zip(first.blobs, arrays, strict=True):
        assert got.array.dtype == array.dtype
        assert not got.legacy
        np.testing.assert_array_equal(got.array, -array if diffs else array, strict=True)


def test_definition_is_read_without_arrays(tmp_path: Path) -> None:
    net = read_binary_net(saved(tmp_path / "w", small()))
    assert [(x.name, x.type, len(x.blobs)) for x in net.layer] == [("conv", "Convolution", 0), ("relu", "ReLU", 0)]
    assert net.name == "small"


def test_v1_and_v0(tmp_path: Path) -> None:
    net = parse_text(
        """
        layers { name: "c" type: INNER_PRODUCT blobs { num: 1 channels: 1 height: 2 width: 3
                 data: [0, 1, 2, 3, 4, 5] } }
        layers { layer { name: "p" type: "padding" pad: 1 } bottom: "c" top: "p" }
        layers { layer { name: "d" type: "conv" blobs { num: 1 channels: 2 height: 1 width: 1 data: [7, 8] } }
                 bottom: "p" top: "d" }
        """,
        pb.NetParameter(),
    )
    path = saved(tmp_path / "w", net)
    c, p, d = iter_layers(path)
    assert (c.name, c.type, p.name, p.type, d.name, d.type) == ("c", "InnerProduct", "p", "", "d", "Convolution")
    assert c.blobs[0].legacy
    np.testing.assert_array_equal(c.blobs[0].array, np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3), strict=True)
    assert d.blobs[0].shape == (1, 2, 1, 1)
    assert [x.type for x in read_binary_net(path).layer] == ["InnerProduct", "Convolution"]


@pytest.mark.parametrize(("kind", "dtype"), [(pb.FLOAT16, "<f2"), (pb.FLOAT, "<f4"), (pb.DOUBLE, "<f8")])
@pytest.mark.parametrize("data_first", [False, True])
def test_raw_storage(tmp_path: Path, kind: pb.Type, dtype: str, data_first: bool) -> None:
    values = np.array([1.5, -2, 0.25], dtype)
    head = pb.BlobProto(raw_data_type=kind, shape=pb.BlobShape(dim=[3])).SerializeToString()
    body = pb.BlobProto(raw_data=values.tobytes()).SerializeToString()
    blob = body + head if data_first else head + body  # the order of fields is free
    layer_bytes = b"\x3a" + bytes([len(blob)]) + blob
    (tmp_path / "w").write_bytes(b"\xa2\x06" + bytes([len(layer_bytes)]) + layer_bytes)
    (layer,) = iter_layers(tmp_path / "w")
    assert layer.blobs[0].array.dtype == (np.float64 if dtype == "<f8" else np.float32)
    np.testing.assert_array_equal(layer.blobs[0].array, values)


def test_unpacked_and_split_values(tmp_path: Path) -> None:
    """Writers may leave repeated numbers unpacked, or write them in several packed pieces."""
    values = np.arange(5, dtype="<f4")
    unpacked = b"".join(b"\x2d" + v.tobytes() for v in values[:3])
    packed = b"\x2a\x04" + values[3].tobytes() + b"\x2a\x04" + values[4].tobytes()
    shape = pb.BlobProto(shape=pb.BlobShape(dim=[5])).SerializeToString()
    for blob in (unpacked + packed + shape, shape + unpacked + packed):
        layer = b"\x0a\x01a\x3a" + bytes([len(blob)]) + blob
        (tmp_path / "w").write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
        (read,) = iter_layers(tmp_path / "w")
        np.testing.assert_array_equal(read.blobs[0].array, values)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        ("shape { dim: 3 } data: 1", r'layer "a" blob 0: shape \(3,\) does not fit 1 value'),
        ("shape { dim: -1 } data: 1", "does not fit"),
        ("shape { dim: 0 dim: 4611686018427387904 dim: 4611686018427387904 }", "does not fit"),
        ("num: 1 channels: -1 height: -1 width: 1 data: 1", "does not fit"),
        ("data: [1, 2]", "does not fit"),
        ("shape { " + "dim: 1 " * 33 + "} data: 1", "33 axes"),
        ('shape { dim: 1 } raw_data_type: INT raw_data: "abcd"', "INT"),
        ('shape { dim: 1 } raw_data: "abcd"', "unknown number type"),
        ('shape { dim: 1 } raw_data_type: FLOAT raw_data: "abc"', "no whole number"),
    ],
)
def test_blobs_that_contradict_themselves(tmp_path: Path, blob: str, message: str) -> None:
    net = parse_text(f'layer {{ name: "a" blobs {{ {blob} }} }}', pb.NetParameter())
    with pytest.raises(WeightsError, match=message):
        list(iter_layers(saved(tmp_path / "w", net)))


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w"
    content = small().SerializeToString()
    whole_layers = {i for i in range(len(content)) if _parses_whole(content[:i])}
    for cut in set(range(len(content))) - whole_layers:
        path.write_bytes(content[:cut])
        with pytest.raises(WeightsError) as caught:
            list(iter_layers(path))
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def _parses_whole(content: bytes) -> bool:
    """A cut between two layers leaves a smaller, but whole file."""
    try:
        return len(pb.NetParameter.FromString(content).layer) > 0
    except Exception:
        return False


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "w"
    foreign = {
        b"": "empty",
        b"\x89HDF\r\n\x1a\n....": "HDF5",
        b'name: "net" layer { }': "protobuf|no .caffemodel|truncated",
        pb.SolverState(iter=5, learned_net="x").SerializeToString(): "no .caffemodel",
        array_to_blobproto(np.ones(3, np.float32)).SerializeToString(): "no layers",
        pb.NetParameter(name="n").SerializeToString(): "no layers",
    }
    for content, message in foreign.items():
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            list(iter_layers(path))
    with pytest.raises(WeightsError, match="No such file"):
        list(iter_layers(tmp_path / "none"))
    with pytest.raises(WeightsError, match="directory"):
        list(iter_layers(tmp_path))
    with pytest.raises(WeightsError, match="not a file name"):
        list(iter_layers("a\0b"))


def test_writing_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "w"
    write_caffemodel(path, small(), {"conv": [np.ones(2, np.float32)]})
    before = path.read_bytes()
    with pytest.raises(WeightsError, match="no such layer"):
        write_caffemodel(path, small(), {"cnv": [np.ones(2, np.float32)]})
    with pytest.raises(ValueError, match="could not convert"):
        write_caffemodel(path, small(), {"conv": [np.array(["x"])]})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(WeightsError, match="cannot be written"):
        write_caffemodel(tmp_path / "none" / "w", small(), {})


def test_memory_stays_near_the_size_of_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "w"
    size = 8 << 20
    write_caffemodel(path, small(), {"conv": [np.zeros(size // 4, np.float32)]})
    tracemalloc.start()
    try:
        layers = list(iter_layers(path))
        assert layers[0].blobs[0].array.nbytes == size
        assert tracemalloc.get_traced_memory()[1] < 1.1 * size
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        write_caffemodel(path, small(), {"conv": [layers[0].blobs[0].array]})
        assert tracemalloc.get_traced_memory()[1] - held < 0.1 * size
    finally:
        tracemalloc.stop()
