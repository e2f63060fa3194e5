"""A look at the tables of a LevelDB: the library believes the sizes at their ends, which no checksum covers."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from dragon.counting import how_many
from dragon.errors import DataError, WeightsError
from dragon.proto.wire import WireReader

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
        numbers = WireReader(io.BytesIO(footer), _FOOTER, str(path))
        try:
            blocks = [(numbers.varint(_FOOTER), numbers.varint(_FOOTER)) for _ in range(2)]
        except WeightsError:
            raise DataError(f'LevelDB "{folder}" is damaged: {path.name} does not say where its blocks are') from None
        for at, length in blocks:
            if at + length + _TRAILER > size - _FOOTER:
                raise DataError(
                    f'LevelDB "{folder}" is damaged: {path.name} has {how_many(size, "byte")}, and names a block of '
                    f"{length:,} at {at:,}"
                )
