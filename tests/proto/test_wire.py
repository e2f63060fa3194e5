"""The reader of protobuf's wire format, which reads ahead."""

from __future__ import annotations

import io

import numpy as np
import pytest

from dragon.errors import WeightsError
from dragon.proto import wire
from dragon.proto.wire import WireReader, encode_varint

NUMBERS = [*range(300), *(2**k + d for k in range(8, 64) for d in (-1, 0, 1)), 2**64 - 1]


def reader(content: bytes) -> WireReader:
    return WireReader(io.BytesIO(content), len(content), "file")


@pytest.mark.parametrize("ahead", [1, 10, 11, 64, 4096])
def test_numbers_wherever_the_bytes_read_ahead_end(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_AHEAD", ahead)
    content = b"".join(map(encode_varint, NUMBERS))
    read = reader(content)
    assert [read.varint(read.size) for _ in NUMBERS] == NUMBERS
    assert read.at == read.size


def test_values_between_numbers_and_steps_back() -> None:
    values = np.arange(5000, dtype=np.float32)
    content = encode_varint(300) + values.tobytes() + encode_varint(7) + b"abc"
    read = reader(content)
    for _ in range(2):
        assert read.varint(read.size) == 300
        found = np.empty_like(values)
        read.read_into(found)
        assert np.array_equal(found, values)
        assert (read.varint(read.size), read.read(3, read.size)) == (7, b"abc")
        read.seek(0)


@pytest.mark.parametrize("content", [b"\xff" * 11, b"\xff" * 10 + b"\1" + b"\0" * 20])
def test_a_number_of_more_than_ten_bytes(content: bytes) -> None:
    read = reader(content)
    with pytest.raises(WeightsError, match=r"longer than ten bytes \(at byte 10 of"):
        read.varint(read.size)


@pytest.mark.parametrize("behind", [b"", b"\1" * 20])
def test_a_number_ends_before_the_end(behind: bytes) -> None:
    read = reader(b"\x80\x80" + behind)
    with pytest.raises(WeightsError, match="1 byte expected, 0 left"):
        read.varint(2)
