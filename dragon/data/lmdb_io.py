"""Reads and writes LMDB folders in Caffe's layout: one record per image, read in key order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from dragon.data.lmdb_pages import LmdbPages
from dragon.data.new_folder import new_folder
from dragon.errors import DataError
from dragon.files.kinds import instead
from dragon.files.paths import missing_hint

__all__ = ["LmdbReader", "write_lmdb"]

T = TypeVar("T")

_TRIES = 100
_COMMIT_EVERY = 1000  # records in one transaction


class LmdbReader:
    """A cursor over the records of an LMDB that wraps around; its whole state is the integer `position`.

    It never writes, so the folder may be read-only, and any number of readers and processes may use it; one reader is
    for one thread at a time. Another process may write meanwhile: every record that is read was committed, and once the
    reader notices the writer, it keeps to the records of that moment (see `dragon.data.lmdb_file`). Raises DataError if
    the folder is missing, not an LMDB, truncated, damaged or empty; damage is found when the damaged page is read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        if not os.path.exists(self.path):
            raise DataError(f'LMDB "{self.path}" does not exist{missing_hint(self.path)}')
        if not os.path.isfile(os.path.join(self.path, "data.mdb")):
            raise DataError(f'"{self.path}" is not an LMDB folder: it holds no data.mdb{instead(self.path)}')
        self._pages = LmdbPages(self.path)
        if not len(self._pages):
            self._pages.close()
            raise DataError(f'LMDB "{self.path}" is empty: it holds no record')
        self._records = self._pages.records()
        self.position = 0

    def __len__(self) -> int:
        return len(self._pages)

    def read(self, count: int) -> list[bytes]:
        """The next `count` records; `position` moves on by `count`, modulo the number of records."""
        found: list[bytes] = []
        while len(found) < count:
            part = self._steady(self._next, count - len(found))
            found += part
            self.position = (self.position + len(part)) % len(self)
        return found

    def _next(self, count: int) -> list[bytes]:
        found = list(islice(self._records, count))
        while len(found) < count:
            self._records = self._pages.records()
            found += islice(self._records, count - len(found))
        return found

    def _steady(self, read: Callable[[int], T], count: int = 1) -> T:
        """What `read` returns for at most `count` records of one transaction; repeated if a writer interfered."""
        for _ in range(_TRIES):
            try:
                found = read(count)
            except DataError:
                if self._pages.is_unchanged():
                    self._records = self._pages.records(self.position)
                    raise
            else:
                if self._pages.is_unchanged():
                    return found
            self._pages.follow()
            if not len(self):
                raise DataError(f'LMDB "{self.path}" is empty: its records were deleted while it was read')
            self.seek(self.position)
            count = max(1, count // 2)
        raise DataError(
            f'LMDB "{self.path}" cannot be read: it is written to all the time, and its lock.mdb cannot be used'
        )

    def seek(self, position: int) -> None:
        """Move to record `position`, taken modulo the number of records."""
        self.position = position % len(self)
        self._records = self._pages.records(self.position)

    def skip(self, count: int) -> None:
        """Move `count` records on."""
        self.seek(self.position + count)

    def keys(self) -> list[bytes]:
        """The keys of all records, ascending."""
        return self._steady(lambda _: self._pages.keys())

    def key(self, position: int) -> bytes:
        """The key of record `position`, taken modulo the number of records."""
        return self._steady(lambda _: next(self._pages.records(position % len(self), keys=True), b""))

    def pick(self, keys: list[bytes], numbers: Sequence[int]) -> list[bytes]:
        """The records of `keys[i]` for each i of `numbers`; fast for the list from `keys`. Raises DataError."""
        found: list[bytes] = []

        def following(count: int) -> list[bytes]:
            return self._pick(keys, numbers[len(found) : len(found) + count])

        while len(found) < len(numbers):
            found += self._steady(following, len(numbers) - len(found))
        return found

    def _pick(self, keys: list[bytes], numbers: Sequence[int]) -> list[bytes]:
        found = []
        for number in numbers:
            value = self._pages.pick(keys, number)
            if value is None:
                raise DataError(f'LMDB "{self.path}" has no record {keys[number]!r}')
            found.append(value)
        return found

    def get(self, key: bytes) -> bytes:
        """The record of a key. Raises DataError if there is none."""
        return self.pick([key], [0])[0]

    def close(self) -> None:
        """Release the folder; may be called twice."""
        self._records = iter(())
        self._pages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_lmdb(
    path: str | os.PathLike[str],
    records: Iterable[tuple[bytes, bytes]],
    check: Callable[[Path], None] | None = None,
) -> int:
    """Write (key, value) records, keys ascending, to a new LMDB folder; returns their number.

    The folder appears under its name when it is complete and on disk, and `check`, which gets the folder under its
    temporary name, has not raised. Raises DataError if `path` exists, keys do not ascend or the disk fails.
    """
    with new_folder(path, "LMDB") as temporary:
        count = _fill(temporary, iter(records))
        if check:
            check(temporary)
    return count


def _fill(folder: Path, records: Iterator[tuple[bytes, bytes]]) -> int:
    import lmdb

    count = 0
    # several small transactions; nothing is read before the one sync at the end
    environment = lmdb.open(str(folder), map_size=1 << 26, lock=False, sync=False, metasync=False)
    try:
        while chunk := list(islice(records, _COMMIT_EVERY)):
            _put(environment, chunk, lmdb)
            count += len(chunk)
        environment.sync(True)
    except lmdb.Error as error:
        raise DataError(f"LMDB cannot be written: {str(error).rsplit(': ', 1)[-1]}") from None
    finally:
        environment.close()
    return count


def _put(environment: Any, chunk: list[tuple[bytes, bytes]], lmdb: Any) -> None:
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in chunk:
                    if not transaction.put(key, value, append=True, overwrite=False):
                        raise DataError(f"LMDB cannot be written: key {key!r} comes twice or out of order")
            return
        except lmdb.MapFullError:
            environment.set_mapsize(environment.info()["map_size"] * 2)
