"""A look at the tables of a LevelDB: the library believes the sizes at their ends, which no checksum covers."""

from __future__ import annotations

import struct
from pathlib import Path

from dragon.counting import how_many
from dragon.errors import DataError

__all__ = ["check_tables"]

# The last bytes of a table: places and sizes of two blocks as four varints, zeros, and the number that marks a table
# (leveldb's doc/table_format.md).
_FOOTER = 48
_MARK = 0xDB4775248B80FB57
_TRAILER = 5  # compression and checksum behind a block


def check_tables(folder: Path) -> None:
    """Raise DataError for a table with a block that lies outside its file: LevelDB would ask for that much memory.

    What else is wrong with a table, LevelDB says itself.
    """
    for path in sorted([*folder.glob("*.ldb"), *folder.glob("*.sst")]):
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _FOOTER))
                footer = file.read()
        except OSError:
            continue
        if len(footer) < _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _MARK:
            continue
        metaindex, metaindex_size, index, index_size = _varints(footer, 4)
        for at, length in ((metaindex, metaindex_size), (index, index_size)):
            if at + length + _TRAILER > size - _FOOTER:
                raise DataError(
                    f'LevelDB "{folder}" is damaged: {path.name} has {how_many(size, "byte")}, and names a block of '
                    f"{length:,} at {at:,}"
                )


def _varints(data: bytes, count: int) -> list[int]:
    """The first whole numbers of data, seven bits a byte, the lowest first."""
    found = []
    at = 0
    for _ in range(count):
        value = shift = 0
        while at < len(data):
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(value)
    return found
