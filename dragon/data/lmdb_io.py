"""Reading and writing LMDB folders as Caffe lays them out: one record per image, read in key order."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dragon.atomic import sync_folder
from dragon.data.hints import missing_hint
from dragon.errors import DataError

__all__ = ["LmdbReader", "write_lmdb"]

_COMMIT_EVERY = 1000  # records in one transaction
_shared: weakref.WeakValueDictionary[tuple[str, int, int], _Shared] = weakref.WeakValueDictionary()
_shared_lock = threading.Lock()


class _Shared:
    """LMDB allows one environment per folder and process, so readers share it; it closes with the last of them."""

    def __init__(self, environment: Any) -> None:
        self.environment = environment

    def __del__(self) -> None:
        self.environment.close()


class LmdbReader:
    """A cursor over the records of an LMDB that wraps around; its whole state is the integer `position`.

    Opens read-only and without the lock file, so a read-only folder and many processes are fine. One thread
    at a time may use a reader; several readers of one folder may be open. Raises DataError if the folder is
    missing, is no LMDB, is cut short or holds no record.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        shared = _share(self.path)
        self._entries = _entries(shared.environment, self.path)
        self._shared: _Shared | None = shared
        self._transaction = shared.environment.begin()
        self._cursor = self._transaction.cursor()
        self._cursor.first()
        self.position = 0

    def __len__(self) -> int:
        return self._entries

    def read(self, count: int) -> list[bytes]:
        """The next `count` records; `position` moves on by `count`, modulo the number of records."""
        import lmdb

        cursor = self._cursor
        records: list[bytes] = []
        try:
            for _ in range(count):
                records.append(cursor.value())
                if not cursor.next():
                    cursor.first()
        except lmdb.Error as error:
            raise DataError(f'LMDB "{self.path}": record {self.position + len(records)}: {error}') from None
        self.position = (self.position + count) % self._entries
        return records

    def seek(self, position: int) -> None:
        """Move to record `position`, taken modulo the number of records."""
        target = position % self._entries
        if target < self.position:
            self._cursor.first()
            self.position = 0
        for _ in range(target - self.position):
            self._cursor.next()
        self.position = target

    def keys(self) -> list[bytes]:
        """The keys of all records in their order."""
        with self._transaction.cursor() as cursor:
            return list(cursor.iternext(keys=True, values=False))

    def get(self, key: bytes) -> bytes:
        """The record of a key. Raises DataError where the database is damaged."""
        import lmdb

        try:
            value: bytes = self._transaction.get(key)
        except lmdb.Error as error:
            raise DataError(f'LMDB "{self.path}": record {key!r}: {error}') from None
        return value

    def close(self) -> None:
        """Release the folder; may be called twice."""
        if self._shared is not None:
            self._cursor.close()
            self._transaction.abort()
            self._shared = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _share(path: str) -> _Shared:
    import lmdb

    file = os.path.join(path, "data.mdb")
    if not os.path.exists(path):
        raise DataError(f'LMDB "{path}" does not exist{missing_hint(path)}')
    if not os.path.isfile(file):
        raise DataError(f'"{path}" is not an LMDB folder: it holds no data.mdb')
    try:
        stat = os.stat(file)
        key = os.path.realpath(path), stat.st_dev, stat.st_ino  # a folder written anew is another one
        with _shared_lock:
            shared = _shared.get(key)
            if shared is None:
                shared = _Shared(lmdb.open(key[0], readonly=True, lock=False, create=False, max_dbs=0))
                _shared[key] = shared
    except (lmdb.Error, OSError) as error:
        raise DataError(f'LMDB "{path}" cannot be opened: {_reason(error)}') from None
    return shared


def _entries(environment: Any, path: str) -> int:
    """Number of records, after checks that keep the process from touching pages that are not there."""
    stat = environment.stat()
    needed = (environment.info()["last_pgno"] + 1) * stat["psize"]
    size = os.path.getsize(os.path.join(path, "data.mdb"))
    if size < needed:
        raise DataError(f'LMDB "{path}" is cut short: data.mdb has {size} bytes, its header says {needed}')
    if stat["entries"] == 0:
        raise DataError(f'LMDB "{path}" is empty: it holds no record')
    return int(stat["entries"])


def _reason(error: Exception) -> str:
    return str(error).rsplit(": ", 1)[-1]


def write_lmdb(
    path: str | os.PathLike[str],
    records: Iterable[tuple[bytes, bytes]],
    check: Callable[[Path], None] | None = None,
) -> int:
    """Write (key, value) records, keys ascending, as a new LMDB folder; returns how many.

    The folder appears under its name only when it is complete, on disk, and `check` has let it pass (it is
    given the folder under its temporary name and raises if not). Raises DataError if `path` exists, a key
    does not ascend or the disk fails.
    """
    target = Path(path)
    if target.exists():
        raise DataError(f'"{target}" exists already: remove it or choose another folder')
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise DataError(f'LMDB "{target}" cannot be written: {error.strerror}') from None
    try:
        count = _fill(temporary, iter(records))
        if check:
            check(temporary)
        temporary.chmod(0o755)
        os.rename(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise DataError(f'LMDB "{target}" cannot be written: {error}') from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _fill(folder: Path, records: Iterator[tuple[bytes, bytes]]) -> int:
    import lmdb

    count = 0
    # Several transactions, each of them small; nothing is read back before the one sync at the end.
    environment = lmdb.open(str(folder), map_size=1 << 26, lock=False, sync=False, metasync=False)
    try:
        while chunk := list(islice(records, _COMMIT_EVERY)):
            _put(environment, chunk, lmdb)
            count += len(chunk)
        environment.sync(True)
    except lmdb.Error as error:
        raise DataError(f"LMDB cannot be written: {_reason(error)}") from None
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
