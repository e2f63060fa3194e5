"""A reader of protobuf's wire format, field by field, so that a large file never has to fit into one message."""

from __future__ import annotations

from typing import IO, NoReturn

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.errors import WeightsError, one_line

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "WireReader", "encode_key", "encode_varint"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_PIECE = 1 << 20
_AHEAD = 1 << 12  # bytes that are read at a time where a key or a length is wanted
_LONGEST = 10  # bytes of a number


class WireReader:
    """Reads keys and values at the position `at`, never beyond a given end. Raises WeightsError, one line.

    context: what is being read, such as a layer; it becomes part of error messages.
    """

    def __init__(self, file: IO[bytes], size: int, path: str) -> None:
        self._file = file
        self._ahead, self._ahead_at = b"", 0  # bytes of the file from a position on
        self.size = size
        self.path = path
        self.at = 0
        self.context = ""

    def fail(self, message: str) -> NoReturn:
        """Raise the error for damage at this position."""
        source = f"{self.path}: {self.context}: " if self.context else f"{self.path}: "
        raise WeightsError(one_line(f"{source}{message} (at byte {self.at} of {self.size})"))

    def varint(self, end: int) -> int:
        """A variable-length unsigned number."""
        at = self.at
        if at + _LONGEST > end:
            return self._last_varint(end)
        start = at - self._ahead_at
        if not 0 <= start <= len(self._ahead) - _LONGEST:
            self._file.seek(at)
            self._ahead, self._ahead_at, start = self._file.read(_AHEAD), at, 0
            if len(self._ahead) < _LONGEST:
                return self._last_varint(end)
        value = self._ahead[start]
        if value < 0x80:
            self.at = at + 1
            return value
        value &= 0x7F
        for i in range(1, _LONGEST):
            byte = self._ahead[start + i]
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                self.at = at + i + 1
                return value
        return self._last_varint(end)

    def _last_varint(self, end: int) -> int:
        """As `varint`, byte by byte: near the end, or for a number that is too long."""
        value = shift = 0
        byte = 0x80
        while byte >= 0x80:
            if shift == 70:
                self.fail("the file is damaged: a number is longer than ten bytes")
            byte = self.read(1, end)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
        return value

    def key(self, end: int) -> tuple[int, int]:
        """Field number and wire type."""
        key = self.varint(end)
        number, kind = key >> 3, key & 7
        if number == 0 or number >= 1 << 29 or kind not in (VARINT, FIXED64, BYTES, FIXED32):
            self.fail(f"the file is damaged or not a protobuf file: field {number} of wire type {kind}")
        return number, kind

    def length(self, end: int) -> int:
        """The length of a value of bytes, which must end before `end`."""
        length = self.varint(end)
        left = min(end, self.size) - self.at
        if length > left:
            fault = "truncated" if end >= self.size else "damaged"
            self.fail(f"the file is {fault}: {how_many(length, 'byte')} announced, {left} left")
        return length

    def read(self, count: int, end: int) -> bytes:
        """The next `count` bytes, which must end before `end`."""
        if count > min(end, self.size) - self.at:
            self.fail(
                f"the file is truncated or damaged: {how_many(count, 'byte')} expected, "
                f"{min(end, self.size) - self.at} left"
            )
        start = self.at - self._ahead_at
        if start >= 0 and start + count <= len(self._ahead):
            content = self._ahead[start : start + count]
        else:
            self._file.seek(self.at)
            content = self._file.read(count)
        if len(content) != count:
            self.fail("the file is truncated")
        self.at += count
        return content

    def read_into(self, array: NDArray[np.generic]) -> None:
        """Fill a contiguous array with the next bytes, directly from the file."""
        view = memoryview(array.view(np.uint8))  # type: ignore[arg-type]
        self._file.seek(self.at)
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                self.fail("the file is truncated")
            done += count
        self.at += done

    def seek(self, position: int) -> None:
        """Go to a position, forwards or backwards."""
        self.at = position

    def skip(self, kind: int, end: int) -> None:
        """Skip a value."""
        if kind == VARINT:
            self.varint(end)
            return
        count = _FIXED.get(kind) or self.length(end)
        if count > min(end, self.size) - self.at:
            self.fail(
                f"the file is truncated or damaged: {how_many(count, 'byte')} expected, "
                f"{min(end, self.size) - self.at} left"
            )
        self.seek(self.at + count)

    def raw(self, number: int, kind: int, end: int) -> bytes:
        """A whole field with its key, serialised."""
        key = encode_key(number, kind)
        if kind == VARINT:
            return key + encode_varint(self.varint(end))
        if kind == BYTES:
            length = self.length(end)
            return key + encode_varint(length) + self.read(length, end)
        return key + self.read(_FIXED[kind], end)

    def unpacked_run(self, number: int, dtype: np.dtype[np.generic], end: int) -> NDArray[np.generic]:
        """The values of a repeated number that is not packed; begins after the first key, ends at another field."""
        key = np.frombuffer(encode_key(number, FIXED32 if dtype.itemsize == 4 else FIXED64), np.uint8)
        width = len(key) + dtype.itemsize
        parts = [np.frombuffer(self.read(dtype.itemsize, end), dtype)]
        while True:
            start = self.at
            count = min(end - start, _PIECE * width) // width
            rows = np.frombuffer(self.read(count * width, end), np.uint8).reshape(count, width)
            same = (rows[:, : len(key)] == key).all(1)
            run = count if same.all() else int(same.argmin())
            if run:
                parts.append(np.ascontiguousarray(rows[:run, len(key) :]).view(dtype).ravel())
            if run < count or count == 0:
                self.seek(start + run * width)
                return np.concatenate(parts)


def encode_varint(value: int) -> bytes:
    """A number as bytes of 7 bits, low ones first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_key(number: int, kind: int) -> bytes:
    """The bytes before a value: its field number and wire type."""
    return encode_varint(number << 3 | kind)
