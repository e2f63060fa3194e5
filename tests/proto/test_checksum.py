"""The checksum at the end of weights and states: damage is found, other programs read and write such files."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dragon.errors import WeightsError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.binary import iter_layers, write_caffemodel
from dragon.proto.checksum import SummedFile, check, stored_checksum, with_checksum

WEIGHTS = {"ip": [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)]}


def net(name: str = "net") -> pb.NetParameter:
    return pb.NetParameter(name=name, layer=[pb.LayerParameter(name="ip", type="InnerProduct")])


def arrays(path: Path) -> list[NDArray[Any]]:
    return [blob.array for layer in iter_layers(path) for blob in layer.blobs]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "a.caffemodel"
    write_caffemodel(path, net(), WEIGHTS)
    return path


def test_no_changed_byte_changes_a_value_unseen(model: Path) -> None:
    content = model.read_bytes()
    assert stored_checksum(model) is not None
    accepted = 0
    for at in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[at] ^= flip
            model.write_bytes(damaged)
            try:
                found = arrays(model)
            except WeightsError:
                continue
            accepted += 1  # only bytes of the checksum itself may change unseen: then there is none to compare with
            assert all(np.array_equal(a, b) for a, b in zip(found, WEIGHTS["ip"], strict=True))
            assert at >= len(content) - 35, at
    assert accepted < 3 * 35


def test_a_file_may_end_anywhere_in_its_checksum(model: Path) -> None:
    """What ends inside a field is damaged; without a whole checksum there is none to compare with."""
    content = model.read_bytes()
    for left in range(len(content) - 40, len(content)):
        model.write_bytes(content[:left])
        assert stored_checksum(model) is None
        try:
            found = arrays(model)
        except WeightsError:
            continue
        assert all(np.array_equal(a, b) for a, b in zip(found, WEIGHTS["ip"], strict=True))


def test_other_readers_of_protobuf_see_the_message_alone(model: Path) -> None:
    message = pb.NetParameter.FromString(model.read_bytes())
    assert message.name == "net"
    assert [layer.name for layer in message.layer] == ["ip"]
    assert message.ByteSize() < len(model.read_bytes())  # nothing unknown is kept


def test_a_program_that_edits_the_message_drops_the_checksum(model: Path) -> None:
    message = pb.NetParameter.FromString(model.read_bytes())
    message.layer[0].blobs[0].data[0] = 42
    model.write_bytes(message.SerializeToString())
    assert stored_checksum(model) is None
    assert arrays(model)[0].flat[0] == 42


@pytest.mark.parametrize("name", ["", "n", "x" * 200, "y" * 20_000, "z" * 40_000, "\u00e9\n"])
def test_any_name_of_a_net(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.caffemodel"
    write_caffemodel(path, net(name), WEIGHTS)
    assert pb.NetParameter.FromString(path.read_bytes()).name == name
    assert len(arrays(path)) == 2
    assert (stored_checksum(path) is None) == (len(name) > 1 << 15)


def test_the_sum_is_that_of_zlib() -> None:
    file = io.BytesIO()
    summed = SummedFile(file)
    summed.write(b"some ")
    summed.write(memoryview(b"bytes"))
    summed.finish(1, "n")
    assert file.getvalue() == with_checksum(b"some bytes", 1, "n")
    assert b"%08x" % zlib.crc32(b"some bytes") in file.getvalue()
    check(file, len(file.getvalue()), "f")
    assert file.tell() == 0


def test_files_of_other_programs_are_not_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    message = net()
    message.layer[0].blobs.add(data=[1, 2]).shape.dim.append(2)
    path.write_bytes(message.SerializeToString())
    assert arrays(path)[0].tolist() == [1, 2]


def test_the_message_names_both_sums(model: Path) -> None:
    content = bytearray(model.read_bytes())
    content[-60] ^= 1
    model.write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.caffemodel: the file is damaged: its checksum is \w{8}, it"):
        arrays(model)
