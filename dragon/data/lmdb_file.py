"""The data file of an LMDB: its meta pages, read without mmap, and a reader slot in its lock file.

Everything is read by position: if a mapped file is truncated, the process ends with SIGBUS, while a short read is an
ordinary error.

A writer does not reuse the pages of the newest transaction T before it commits T + 2, which overwrites the meta page of
T. So what was read is valid if the meta page of T is still there afterwards. A reader that was overtaken by a writer
takes a slot in the lock file of liblmdb, as Caffe does from the start: while its transaction is open, its pages are not
reused.
"""

from __future__ import annotations

import os
import weakref
from struct import Struct
from typing import Any, ClassVar, NamedTuple

from dragon.counting import how_many
from dragon.errors import DataError
from dragon.files.reading import open_number, read_at, require_regular

__all__ = ["PAGE_HEADER", "Header", "LmdbFile"]

_META = Struct("<IIQQ")  # magic, version, address, map size
_DATABASE = Struct("<IHHQQQQQ")  # page size, flags, depth, branches, leaves, overflow pages, records, root
_LAST = Struct("<QQ")  # last page, transaction ID
_MAGIC = 0xBEEFC0DE
_MIN_RECORD = 10  # bytes: offset and header of a node
_MAX_DEPTH = 32
_TRIES = 1000
PAGE_HEADER = 16  # bytes at the start of each page
_WHOLE = PAGE_HEADER + _META.size + 2 * _DATABASE.size + _LAST.size


class Header(NamedTuple):
    """What one of the two meta pages says about the main database."""

    transaction: int
    page: int  # size in bytes
    last: int  # number of the last page
    flags: int
    depth: int
    entries: int
    root: int


class LmdbFile:
    """`data.mdb` of a folder, opened for reading. Raises DataError if it is not an LMDB, truncated or damaged."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        try:
            path = os.path.join(folder, "data.mdb")
            require_regular(path)
            self._file = open_number(path)
        except OSError as error:
            raise DataError(f'LMDB "{folder}" cannot be opened: {error.strerror}') from None
        self._close = weakref.finalize(self, os.close, self._file)
        self._slot: _ReaderSlot | None = None
        self._number = 0  # of the meta page that `header` was read from
        try:
            self.header = self._newest()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the file; may be called twice."""
        if self._slot is not None:
            self._slot.close()
        self._slot = None
        self._close()

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`."""
        content = self._read_at(start, end - start)
        if len(content) < end - start:
            raise DataError(f'LMDB "{self.folder}" is cut short: data.mdb ends before byte {end:,}')
        return content

    def is_unchanged(self) -> bool:
        """Whether everything that was read so far belongs to the transaction of `header`."""
        if self._slot is not None and self._slot.is_ours:
            return True
        page = self.header.page
        return self._meta(self._number * page)._replace(page=page) == self.header

    def follow(self) -> None:
        """Switch to the newest transaction, with a reader slot in the lock file if that can be used."""
        if self._slot is not None:
            self._slot.close()
        self._slot = _ReaderSlot.take(self.folder)
        if self._slot is None:
            self.header = self._newest()
            return
        for _ in range(_TRIES):  # a writer may replace the header before it is read
            wanted = self._slot.transaction
            for number, meta in enumerate(self._steady_metas()):
                if meta.transaction == wanted:
                    self._number, self.header = number, self._checked(meta)
                    return
            self._slot.renew()
        raise DataError(f'LMDB "{self.folder}" cannot be read: it is written to faster than its header can be read')

    # -- headers --------------------------------------------------------------------------------------------
    def _newest(self) -> Header:
        metas = self._steady_metas()
        newest = max(metas)
        self._number = metas.index(newest)
        return self._checked(newest)

    def _steady_metas(self) -> list[Header]:
        """Both meta pages, read again until they do not change."""
        metas = self._metas()
        while metas != (again := self._metas()):
            metas = again
        return metas

    def _metas(self) -> list[Header]:
        first = self._meta(0)
        if first.page not in (1 << n for n in range(9, 17)):
            raise DataError(f'LMDB "{self.folder}" is damaged: pages of {how_many(first.page, "byte")}')
        return [first, self._meta(first.page)._replace(page=first.page)]

    def _meta(self, start: int) -> Header:
        content = self._read_at(start, _WHOLE)
        if len(content) < _WHOLE:
            raise DataError(f'LMDB "{self.folder}" cannot be opened: data.mdb is not an LMDB file, or cut short')
        magic, version, _, _ = _META.unpack_from(content, PAGE_HEADER)
        if magic != _MAGIC:
            raise DataError(f'LMDB "{self.folder}" cannot be opened: data.mdb is not an LMDB file')
        if version != 1:
            raise DataError(f'LMDB "{self.folder}" has format {version}; known is 1, of LMDB 0.9')
        at = PAGE_HEADER + _META.size
        page = _DATABASE.unpack_from(content, at)[0]
        _, flags, depth, _, _, _, entries, root = _DATABASE.unpack_from(content, at + _DATABASE.size)
        last, transaction = _LAST.unpack_from(content, at + 2 * _DATABASE.size)
        return Header(transaction, page, last, flags, depth, entries, root)

    def _checked(self, header: Header) -> Header:
        size, needed = os.fstat(self._file).st_size, (header.last + 1) * header.page
        if size < needed:
            raise DataError(
                f'LMDB "{self.folder}" is cut short: data.mdb has {how_many(size, "byte")}, its header says {needed}'
            )
        if header.flags:
            raise DataError(f'LMDB "{self.folder}" has several values to a key, or keys of another kind: not Caffe\'s')
        if header.entries and not (header.entries <= size // _MIN_RECORD and 0 < header.depth <= _MAX_DEPTH):
            raise DataError(
                f'LMDB "{self.folder}" is damaged: {how_many(header.entries, "record")} in {how_many(size, "byte")}'
            )
        return header

    def _read_at(self, start: int, size: int) -> bytes:
        if not self._close.alive:
            raise DataError(f'LMDB "{self.folder}" is closed')
        try:
            return read_at(self._file, size, start)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "a position outside of any file"
            raise DataError(f'LMDB "{self.folder}" cannot be read: {reason}') from None


class _ReaderSlot:
    """A read transaction of liblmdb, which keeps writers of any process from using its pages again.

    The library opens a folder once in a process, so all readers of a folder share its environment.
    """

    _environments: ClassVar[weakref.WeakValueDictionary[tuple[int, str], Any]] = weakref.WeakValueDictionary()

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._pid = os.getpid()
        self._begun = environment.begin()
        self._end = weakref.finalize(self, _abort, self._begun, self._pid)

    @classmethod
    def take(cls, folder: str) -> _ReaderSlot | None:
        """A slot; None if there is no lock file, or it cannot be used."""
        import lmdb

        if not os.path.exists(os.path.join(folder, "lock.mdb")):
            return None
        key = os.getpid(), os.path.realpath(folder)
        try:
            environment = cls._environments.get(key)
            if environment is None:
                environment = lmdb.open(folder, readonly=True, create=False, max_spare_txns=0)
                cls._environments[key] = environment
            return cls(environment)
        except lmdb.Error:
            return None

    @property
    def is_ours(self) -> bool:
        """Whether the slot belongs to this process; after a fork it is that of the parent."""
        return self._pid == os.getpid()

    @property
    def transaction(self) -> int:
        return int(self._begun.id())

    def close(self) -> None:
        self._end()

    def renew(self) -> None:
        """Switch to the newest transaction."""
        self._end()
        self._begun = self._environment.begin()
        self._end = weakref.finalize(self, _abort, self._begun, self._pid)


def _abort(transaction: Any, pid: int) -> None:
    if pid == os.getpid():
        transaction.abort()
