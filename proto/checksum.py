"""A checksum at the end of weights and state files, by which a changed byte is found before the file is used.

The file ends with two more occurrences of a string field that the message has anyway, a net's name or a state's
learned_net. The first holds the text `dragon crc32 ` and the CRC-32 (zlib's) of all bytes before it, as eight
hexadecimal digits; the second repeats the field's own value. Readers of protobuf use the last occurrence, so BVLC Caffe
reads the file as before. A program that reads the message, changes it and writes it drops the checksum, since it keeps
one value of the field. Files without a checksum are read unchecked.
"""

from __future__ import annotations

import os
import re
import zlib
from typing import IO

from dragon.errors import WeightsError
from dragon.proto.wire import BYTES, encode_key, encode_varint

__all__ = ["MARK", "SummedFile", "check", "damaged", "marked", "stored_checksum", "with_checksum"]

MARK = b"dragon crc32 "  # before the eight digits, in HDF5 files too (dragon.files.hdf5_checks)
_MAX_VALUE = 1 << 15  # bytes of the field's own value; a longer one goes without a checksum
_TAIL = re.compile(re.escape(MARK) + rb"([0-9a-f]{8})(?s:(.*))")
_PIECE = 1 << 16


def marked(checksum: int) -> bytes:
    """The mark followed by a CRC-32 as eight hexadecimal digits."""
    return MARK + b"%08x" % checksum


def damaged(path: str | os.PathLike[str], found: str, expected: str) -> WeightsError:
    """The error for a file whose checksum, in digits, is not the one that it ends with."""
    return WeightsError(f"{path}: the file is damaged: its checksum is {found}, it was written with {expected}")


def _text_field(number: int, content: bytes) -> bytes:
    return encode_key(number, BYTES) + encode_varint(len(content)) + content


def _end(checksum: int, number: int, value: str) -> bytes:
    content = value.encode()
    if len(content) > _MAX_VALUE:
        return b""
    return _text_field(number, marked(checksum)) + _text_field(number, content)


class SummedFile:
    """A binary file that is written from front to back, with the checksum of what was written so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.checksum = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Append a piece. Raises OSError."""
        self.checksum = zlib.crc32(piece, self.checksum)
        self._file.write(piece)

    def finish(self, number: int, value: str) -> None:
        """Append the checksum of all bytes so far, by the string field `number` with this value. Raises OSError."""
        self._file.write(_end(self.checksum, number, value))


def with_checksum(content: bytes, number: int, value: str) -> bytes:
    """A serialised message followed by its checksum, by the string field `number` with this value."""
    return content + _end(zlib.crc32(content), number, value)


def stored_checksum(path: str | os.PathLike[str]) -> int | None:
    """The checksum at the end of a file; None if it has none. Raises OSError."""
    with open(path, "rb") as file:
        found = _stored(file, os.fstat(file.fileno()).st_size)
    return found[0] if found is not None else None


def _stored(file: IO[bytes], size: int) -> tuple[int, int] | None:
    """The checksum at the end of an open file, and how many bytes it covers."""
    begin = max(0, size - _MAX_VALUE - 64)
    file.seek(begin)
    tail = file.read(size - begin)
    at = tail.rfind(MARK)
    found = _TAIL.fullmatch(tail, at) if at >= 0 else None
    if found is None:
        return None
    key, again = tail[at - 2 : at - 1], found[2]  # the field's key; the field once more, with its own value
    for digits in (1, 2, 3):
        length = len(again) - 1 - digits  # below 0 where the file ends too early
        if length >= 0 and again[:1] == key and again[1 : 1 + digits] == encode_varint(length):
            return int(found[1], 16), begin + at - 2
    return None


def check(file: IO[bytes], size: int, path: str) -> None:
    """Compare a file with its checksum, if it has one, and go back to its start.

    Raises WeightsError when they differ, OSError when the file cannot be read.
    """
    stored = _stored(file, size)
    file.seek(0)
    if stored is None:
        return
    expected, remaining = stored
    checksum = 0
    while remaining:
        piece = file.read(min(remaining, _PIECE))
        if not piece:
            break
        checksum = zlib.crc32(piece, checksum)
        remaining -= len(piece)
    file.seek(0)
    if checksum != expected:
        raise damaged(path, f"{checksum:08x}", f"{expected:08x}")
