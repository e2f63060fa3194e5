"""Opens the `source` of a data_param with the backend that the prototxt names."""

from __future__ import annotations

import os
from typing import Protocol

from dragon.data.leveldb_io import LevelDbReader
from dragon.data.lmdb_io import LmdbReader
from dragon.data.shuffled import KeyedReader
from dragon.errors import DataError
from dragon.proto import dragon_pb2

__all__ = ["DatabaseReader", "RecordReader", "open_source"]


class RecordReader(Protocol):
    """Records in a fixed order, wrapping around; `position` is the index of the next one."""

    path: str
    position: int

    def __len__(self) -> int: ...

    def read(self, count: int) -> list[bytes]:
        """The next `count` records. Raises DataError."""
        ...

    def seek(self, position: int) -> None:
        """Move to record `position`."""
        ...

    def skip(self, count: int) -> None:
        """Move `count` records on."""
        ...

    def key(self, position: int) -> bytes:
        """The key of record `position`."""
        ...

    def close(self) -> None:
        """Release the source."""
        ...


class DatabaseReader(RecordReader, KeyedReader, Protocol):
    """A database, whose records can be read in order and by key."""


def open_source(path: str | os.PathLike[str], backend: int) -> DatabaseReader:
    """A reader for `source` and `backend` of a DataParameter. Raises DataError, also for the other kind of database."""
    folder = os.fspath(path)
    if backend == dragon_pb2.DataParameter.LMDB:
        if os.path.isfile(os.path.join(folder, "CURRENT")):
            raise DataError(f'"{folder}" is a LevelDB, backend says LMDB: set data_param {{ backend: LEVELDB }}')
        return LmdbReader(folder)
    if os.path.isfile(os.path.join(folder, "data.mdb")):
        raise DataError(
            f'"{folder}" is an LMDB, backend says LEVELDB (the default): set data_param {{ backend: LMDB }}'
        )
    if not os.path.isdir(folder):
        raise DataError(f'LevelDB "{folder}" does not exist')
    return LevelDbReader(folder)
