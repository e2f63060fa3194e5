"""A checksum at the end of weights and state files: a byte that changed on disk is found before anything is read.

The last two fields of such a file are a text field of the message that stands there already, a net's name or a state's
learned_net: first with the text `dragon crc32 ` and the CRC-32 (zlib's) of all bytes before it, as eight hexadecimal
digits, then with its own value again. Every reader of protobuf takes the last one, so BVLC Caffe reads the file as
ever; and a program that reads the message, changes it and writes it drops the checksum with it, since it keeps one
value of the field. Files without a checksum are read unchecked.
"""

from __future__ import annotations

import os
import re
import zlib
from typing import IO

from dragon.errors import WeightsError
from dragon.proto.wire import BYTES, encode_key, encode_varint

__all__ = ["SummedFile", "check", "stored_checksum", "with_checksum"]

_MARK = b"dragon crc32 "
_LONGEST = 1 << 15  # bytes of the field's own value; a longer one goes without a checksum
_TAIL = re.compile(re.escape(_MARK) + rb"([0-9a-f]{8})(?s:(.*))")
_PIECE = 1 << 16


def _text_field(number: int, content: bytes) -> bytes:
    return encode_key(number, BYTES) + encode_varint(len(content)) + content


def _end(checksum: int, number: int, value: str) -> bytes:
    content = value.encode()
    if len(content) > _LONGEST:
        return b""
    return _text_field(number, _MARK + b"%08x" % checksum) + _text_field(number, content)


class SummedFile:
    """A binary file that is written front to back, and its checksum so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.checksum = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Append a piece. Raises OSError."""
        self.checksum = zlib.crc32(piece, self.checksum)
        self._file.write(piece)

    def finish(self, number: int, value: str) -> None:
        """Append the checksum of all that was written, in the text field `number` of this value. Raises OSError."""
        self._file.write(_end(self.checksum, number, value))


def with_checksum(content: bytes, number: int, value: str) -> bytes:
    """A whole message with its checksum behind it, in the text field `number` of this value."""
    return content + _end(zlib.crc32(content), number, value)


def stored_checksum(path: str | os.PathLike[str]) -> int | None:
    """The checksum that a file ends with; None where it has none. Raises OSError."""
    with open(path, "rb") as file:
        found = _stored(file, os.fstat(file.fileno()).st_size)
    return found[0] if found is not None else None


def _stored(file: IO[bytes], size: int) -> tuple[int, int] | None:
    """The checksum of an open file, and of how many bytes it is."""
    begin = max(0, size - _LONGEST - 64)
    file.seek(begin)
    tail = file.read(size - begin)
    at = tail.rfind(_MARK)
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
    """Compare a file with the checksum it ends with, if it has one; the file is at its start afterwards.

    WeightsError when they differ; OSError when it cannot be read.
    """
    stored = _stored(file, size)
    file.seek(0)
    if stored is None:
        return
    wanted, left = stored
    checksum = 0
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            break
        checksum = zlib.crc32(piece, checksum)
        left -= len(piece)
    file.seek(0)
    if checksum != wanted:
        raise WeightsError(
            f"{path}: the file is damaged: its checksum is {checksum:08x}, it was written with {wanted:08x}"
        )
