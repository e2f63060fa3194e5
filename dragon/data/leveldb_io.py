"""Reads and writes LevelDB folders, Caffe's other database, by the package plyvel-ci (extra `leveldb`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from dragon.data.leveldb_tables import check_tables
from dragon.data.new_folder import new_folder
from dragon.errors import DataError
from dragon.extras import leveldb_advice

__all__ = ["LevelDbReader", "write_leveldb"]

_BATCH = 100  # records


class LevelDbReader:
    """A cursor over the records of a LevelDB that wraps around; its whole state is the integer `position`.

    Only one process at a time can open a folder. LevelDB has no record count, so the records are counted here. Raises
    DataError if the package is missing, or the folder is missing, in use, damaged or empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._db = _open(self.path)
        try:
            with self._readable():
                # other iterators do not report damage here
                self._db.raw_iterator(verify_checksums=True).seek_to_first()
                self._entries = sum(1 for _ in self._db.iterator(include_value=False, verify_checksums=True))
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
        rewound = False
        with self._readable():
            while len(records) < count:
                found = list(islice(self._records, count - len(records)))
                if not found and rewound:
                    raise DataError(f'LevelDB "{self.path}" is damaged: its records are not there any more')
                records += found
                if len(records) < count:
                    self._records, rewound = self._from(0), True
        self.position = (self.position + count) % self._entries
        return records

    def seek(self, position: int) -> None:
        """Move to record `position`, taken modulo the number of records."""
        self.position = position % self._entries
        with self._readable():
            self._records = self._from(self.position)

    def skip(self, count: int) -> None:
        """Move `count` records on. They are read: a LevelDB cannot tell where a record is."""
        self.read(count)

    def keys(self) -> list[bytes]:
        """The keys of all records, ascending."""
        with self._readable():
            return list(self._db.iterator(include_value=False, verify_checksums=True))

    def key(self, position: int) -> bytes:
        """The key of record `position`, taken modulo the number of records."""
        with self._readable():
            keys = self._db.iterator(include_value=False, verify_checksums=True)
            return next(islice(keys, position % self._entries, None), b"")

    def pick(self, keys: list[bytes], numbers: Sequence[int]) -> list[bytes]:
        """The records of `keys[i]` for each i of `numbers`. Raises DataError if there is none of a key."""
        return [self.get(keys[number]) for number in numbers]

    def get(self, key: bytes) -> bytes:
        """The record of a key. Raises DataError if there is none."""
        with self._readable():
            value: bytes | None = self._db.get(key, verify_checksums=True)
        if value is None:
            raise DataError(f'LevelDB "{self.path}" has no record {key!r}')
        return value

    def _from(self, position: int) -> Iterator[bytes]:
        return islice(self._db.iterator(include_key=False, verify_checksums=True), position, None)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn errors of the library, which have no common base class, into DataError."""
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            raise DataError(f'LevelDB "{self.path}" cannot be read: {_first_line(error)}') from None

    def close(self) -> None:
        """Release the folder; may be called twice."""
        self._records = iter(())
        self._db.close()


def write_leveldb(path: str | os.PathLike[str], records: Iterable[tuple[bytes, bytes]]) -> int:
    """Write (key, value) records to a new LevelDB folder; returns their number.

    The folder appears under its name when it is complete. Raises DataError if `path` exists or the disk fails.
    """
    plyvel = _plyvel(path)
    count = 0
    rest = iter(records)
    with new_folder(path, "LevelDB") as temporary:
        db = _opened(plyvel, str(temporary), create_if_missing=True)
        try:
            while chunk := list(islice(rest, _BATCH)):
                with db.write_batch(sync=True) as batch:
                    for key, value in chunk:
                        batch.put(key, value)
                count += len(chunk)
        except plyvel.Error as error:
            raise DataError(f'LevelDB "{path}" cannot be written: {_first_line(error)}') from None
        finally:
            db.close()
    return count


def _plyvel(path: str | os.PathLike[str]) -> Any:
    try:
        import plyvel
    except ImportError:
        raise DataError(f'"{path}": {leveldb_advice()}') from None
    return plyvel


def _open(path: str) -> Any:
    plyvel = _plyvel(path)
    if not os.path.isfile(os.path.join(path, "CURRENT")):
        raise DataError(f'"{path}" is not a LevelDB folder: it holds no file CURRENT')
    check_tables(Path(path))
    return _opened(plyvel, path, create_if_missing=False)


def _opened(plyvel: Any, path: str, create_if_missing: bool) -> Any:
    try:
        # without paranoid checks a damaged table is skipped silently
        return plyvel.DB(path, create_if_missing=create_if_missing, paranoid_checks=True)
    except Exception as error:  # plyvel raises IOError and errors of its own
        raise DataError(f'LevelDB "{path}" cannot be opened: {_first_line(error)}') from None


def _first_line(error: Exception) -> str:
    text = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    return (text.splitlines() or [type(error).__name__])[0]
