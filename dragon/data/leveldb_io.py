"""Reading LevelDB folders, the other database that Caffe writes; through the package plyvel-ci (extra `leveldb`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from dragon.errors import DataError

__all__ = ["LevelDbReader"]


class LevelDbReader:
    """A cursor over the records of a LevelDB that wraps around; its whole state is the integer `position`.

    LevelDB lets one process at a time open a folder, and has no count of its records: they are counted once.
    Raises DataError if the package is missing, or the folder is missing, in use, damaged or empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._db = _open(self.path)
        try:
            self._entries = sum(1 for _ in self._db.iterator(include_value=False))
            if self._entries == 0:
                raise DataError(f'LevelDB "{self.path}" is empty: it holds no record')
        except BaseException:
            self._db.close()
            raise
        self._records: Iterator[bytes] = iter(())
        self.position = 0
        self.seek(0)

    def __len__(self) -> int:
        return self._entries

    def read(self, count: int) -> list[bytes]:
        """The next `count` records; `position` moves on by `count`, modulo the number of records."""
        records: list[bytes] = []
        while len(records) < count:
            value = next(self._records, None)
            if value is None:
                self._records = self._from(0)
                continue
            records.append(value)
        self.position = (self.position + count) % self._entries
        return records

    def seek(self, position: int) -> None:
        """Move to record `position`, taken modulo the number of records."""
        self.position = position % self._entries
        self._records = self._from(self.position)

    def keys(self) -> list[bytes]:
        """The keys of all records in their order."""
        return list(self._db.iterator(include_value=False))

    def get(self, key: bytes) -> bytes:
        """The record of a key."""
        value: bytes = self._db.get(key)
        return value

    def _from(self, position: int) -> Iterator[bytes]:
        records = self._db.iterator(include_key=False)
        for _ in range(position):
            next(records)
        return iter(records)

    def close(self) -> None:
        """Release the folder; may be called twice."""
        self._records = iter(())
        self._db.close()


def _open(path: str) -> Any:
    try:
        import plyvel
    except ImportError:
        raise DataError(f'"{path}": reading a LevelDB needs a package: pip install "dragon-caffe[leveldb]"') from None
    if not os.path.isfile(os.path.join(path, "CURRENT")):
        raise DataError(f'"{path}" is not a LevelDB folder: it holds no file CURRENT')
    try:
        return plyvel.DB(path, create_if_missing=False)
    except Exception as error:  # plyvel raises IOError and its own, none of them with a common base
        raise DataError(f'LevelDB "{path}" cannot be opened: {str(error).splitlines()[0]}') from None
