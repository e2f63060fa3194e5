"""The pages of an LMDB file, read in Python and checked: the library itself ends the process on damaged ones.

Layout (LMDB 0.9, 64 bits, little-endian): pages of one size; the first two each hold a header of the whole file, the
newer of which counts; a tree of branch and leaf pages under the root; large values in pages of their own.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Iterator
from struct import Struct

from dragon.errors import DataError

__all__ = ["LmdbPages"]

_PAGE = Struct("<QHHHH")  # number, -, flags, end of the nodes' offsets, start of the nodes
_META = Struct("<IIQQ")  # magic, version, address, map size
_DATABASE = Struct("<IHHQQQQQ")  # page size, flags, depth, branches, leaves, overflow pages, records, root
_LAST = Struct("<QQ")  # last page, number of the transaction
_NODE = Struct("<HHHH")  # size (low, high), or a child's number with the flags as third part; flags; size of the key
_NUMBER = Struct("<Q")
_OFFSET = Struct("<H")
_MAGIC = 0xBEEFC0DE
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_KINDS = 0x6F  # branch, leaf, overflow, meta, and the kinds that databases with several values to a key have
_BIG, _SPECIAL = 1, 6  # flags of a node: the value has its own pages; a database, several values
_HEADER = 16
_LEAST_RECORD = 10  # bytes: offset and head of a node
_DEEPEST = 32
_Span = tuple[int, int]


class LmdbPages:
    """The main database of `data.mdb`: records in the order of their keys. Raises DataError for damage of any kind."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._spans = array("q")  # of the first values, as far as somebody has come: first and last byte of each
        try:
            with open(os.path.join(folder, "data.mdb"), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as error:
            raise DataError(f'LMDB "{folder}" cannot be opened: {error.strerror}') from None
        try:
            self._read_header(size)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return self._entries

    def close(self) -> None:
        """Release the file; may be called twice."""
        if isinstance(self._map, mmap.mmap):
            self._map.close()

    def records(self, start: int = 0, keys: bool = False) -> Iterator[bytes]:
        """Values, or keys, of the records from number `start` on.

        Where values lie is remembered, so that going over them again costs less.
        """
        data, spans = self._map, self._spans
        known = len(spans) // 2  # another pass may get to know more meanwhile
        if not keys:
            for i in range(start, known):
                yield data[spans[2 * i] : spans[2 * i + 1]]
            start = max(start, known)
            if start == self._entries == known:
                return
        left, number = self._entries, start
        for page in self._leaves():
            nodes = self._nodes(page, _LEAF)
            left -= len(nodes)
            if left < 0:
                self._damaged(page, "there are more records than its header says")
            skipped, start = min(start, len(nodes)), max(0, start - len(nodes))
            for node in nodes[skipped:]:
                low, high = self._key(node) if keys else self._value(node)
                if not keys and 2 * number == len(spans):
                    spans.extend((low, high))
                number += 1
                yield data[low:high]
        if left:
            raise DataError(f'LMDB "{self._folder}" is damaged: {left} of its records are not there')

    def find(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        data, page = self._map, self._root
        for depth in range(self._depth):
            leaf = depth == self._depth - 1
            count = self._count(page, _LEAF if leaf else _BRANCH)
            low, high = (0, count) if leaf else (1, count)  # the first child has no key: it takes the rest
            while low < high:
                middle = (low + high) // 2
                node = self._node(page, middle)
                start, end = self._key(node)
                found = data[start:end]
                if leaf and found == key:
                    start, end = self._value(node)
                    return data[start:end]
                low, high = (middle + 1, high) if found <= key else (low, middle)
            if not leaf:
                page = self._child(self._node(page, low - 1))
        return None

    # -- checked steps --------------------------------------------------------------------------------------
    def _read_header(self, size: int) -> None:
        first = self._meta(0, size)
        self._page = first[2][0]
        if self._page not in (1 << n for n in range(9, 17)):
            raise DataError(f'LMDB "{self._folder}" is damaged: pages of {self._page} bytes')
        second = self._meta(self._page, size)
        _, _, database, self._last = max(first, second)
        _, flags, self._depth, _, _, _, self._entries, self._root = database
        needed = (self._last + 1) * self._page
        if size < needed:
            raise DataError(f'LMDB "{self._folder}" is cut short: data.mdb has {size} bytes, its header says {needed}')
        if flags:
            raise DataError(f'LMDB "{self._folder}" has several values to a key, or keys of another kind: not Caffe\'s')
        if self._entries and not (self._entries <= size // _LEAST_RECORD and 0 < self._depth <= _DEEPEST):
            raise DataError(f'LMDB "{self._folder}" is damaged: {self._entries} records in {size} bytes')

    def _meta(self, start: int, size: int) -> tuple[int, int, tuple[int, ...], int]:
        """(transaction, -, main database with the page size in front, last page) of a header page."""
        at = start + _HEADER
        if at + _META.size + 2 * _DATABASE.size + _LAST.size > size:
            raise DataError(f'LMDB "{self._folder}" cannot be opened: data.mdb is not an LMDB file, or cut short')
        magic, version, _, _ = _META.unpack_from(self._map, at)
        if magic != _MAGIC:
            raise DataError(f'LMDB "{self._folder}" cannot be opened: data.mdb is not an LMDB file')
        if version != 1:
            raise DataError(f'LMDB "{self._folder}" has format {version}; known is 1, of LMDB 0.9')
        at += _META.size
        page = _DATABASE.unpack_from(self._map, at)[0]
        main = _DATABASE.unpack_from(self._map, at + _DATABASE.size)
        last, transaction = _LAST.unpack_from(self._map, at + 2 * _DATABASE.size)
        return transaction, start, (page, *main[1:]), last

    def _damaged(self, page: int, what: str) -> None:
        raise DataError(f'LMDB "{self._folder}" is damaged: page {page}: {what}')

    def _leaves(self) -> Iterator[int]:
        """Numbers of the leaf pages in order."""
        if not self._entries:
            return
        level, steps = 1, 0
        waiting = [[self._root]]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                continue
            page = waiting[-1].pop()
            steps += 1
            if steps > self._last:
                self._damaged(page, "the tree of pages leads in circles")
            level = len(waiting)
            if level == self._depth:
                yield page
            else:
                waiting.append([self._child(node) for node in reversed(self._nodes(page, _BRANCH))])

    def _count(self, page: int, kind: int) -> int:
        """How many nodes a page has."""
        if not 2 <= page <= self._last:
            self._damaged(page, "is outside of the file")
        _, _, flags, lower, upper = _PAGE.unpack_from(self._map, page * self._page)
        if flags & _KINDS != kind:
            self._damaged(page, f"has kind {flags:#x} in place of {kind:#x}")
        if not _HEADER < lower <= upper <= self._page or lower % 2:
            self._damaged(page, f"its nodes lie between {lower} and {upper}")
        return int(lower - _HEADER) // 2

    def _node(self, page: int, index: int) -> int:
        """Where a node of a page begins in the file."""
        start = page * self._page
        offset = _OFFSET.unpack_from(self._map, start + _HEADER + 2 * index)[0]
        if not _HEADER < offset <= self._page - _NODE.size:
            self._damaged(page, "a node lies outside of it")
        return int(start + offset)

    def _nodes(self, page: int, kind: int) -> list[int]:
        return [self._node(page, i) for i in range(self._count(page, kind))]

    def _inside(self, node: int, end: int) -> None:
        if end > (node // self._page + 1) * self._page:
            self._damaged(node // self._page, "a node is larger than it")

    def _key(self, node: int) -> _Span:
        start = node + _NODE.size
        end = start + _NODE.unpack_from(self._map, node)[3]
        self._inside(node, end)
        return start, end

    def _child(self, node: int) -> int:
        low, middle, high, _ = _NODE.unpack_from(self._map, node)
        return int(low | middle << 16 | high << 32)

    def _value(self, node: int) -> _Span:
        low, high, flags, key = _NODE.unpack_from(self._map, node)
        start, size = node + _NODE.size + key, low | high << 16
        if flags & _SPECIAL:
            self._damaged(node // self._page, "holds a database of its own, or several values to a key")
        if not flags & _BIG:
            self._inside(node, start + size)
            return start, start + size
        self._inside(node, start + _NUMBER.size)
        page = _NUMBER.unpack_from(self._map, start)[0]
        start = page * self._page + _HEADER
        if not 2 <= page <= self._last or start + size > (self._last + 1) * self._page:
            self._damaged(page, "a value lies outside of the file")
        if _PAGE.unpack_from(self._map, page * self._page)[2] & _KINDS != _OVERFLOW:
            self._damaged(page, "is not the value that a record says it is")
        return start, start + size
