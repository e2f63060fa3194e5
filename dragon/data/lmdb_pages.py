"""Reads the pages of an LMDB file in Python, with checks: liblmdb ends the process on damaged pages.

Layout (LMDB 0.9, 64 bits, little-endian): pages of one size; the first two are meta pages, of which the newer one is
valid; a B+ tree of branch and leaf pages below the root; large values in overflow pages.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from struct import Struct, unpack_from
from typing import NamedTuple, NoReturn

from dragon.counting import how_many
from dragon.data.lmdb_file import PAGE_HEADER, LmdbFile
from dragon.errors import DataError

__all__ = ["LmdbPages"]

_PAGE = Struct("<QHHHH")  # number, -, flags, end of the nodes' offsets, start of the nodes
_NODE = Struct("<HHHH")  # size (low, high), or a child's number with the flags as third part; flags; size of the key
_NUMBER = Struct("<Q")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_KINDS = 0x6F  # flags of all page kinds: branch, leaf, overflow, meta, and those of databases with duplicate keys
_MAX_VALUES, _MAX_BLOCK = 16, 1 << 17  # read at once: number of values, and bytes
_MAX_BRANCHES = 1000  # branch pages kept in memory
_BIG, _SPECIAL = 1, 6  # flags of a node: overflow pages; sub-database or duplicates


class _Page(NamedTuple):
    """A page, and the offsets of its nodes."""

    number: int
    content: bytes
    nodes: tuple[int, ...]


class LmdbPages:
    """The main database of `data.mdb`: records in the order of their keys. Raises DataError for damage of any kind.

    While another process writes, what was read is valid only if `is_unchanged` is true afterwards; otherwise call
    `follow` and read again.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._file = LmdbFile(folder)
        self._begin()

    def _begin(self) -> None:
        header = self._file.header
        self._page, self._last, self._root = header.page, header.last, header.root
        self._depth, self._entries = header.depth, header.entries
        self._branches: dict[int, _Page] = {}
        self._spans = array("q")  # first byte of each value and one past the last, for the values read so far
        self._keys: list[bytes] = []  # as `keys` returned them
        self._places = array("q")  # of their values: the first byte, negative for overflow pages; one past the last

    def __len__(self) -> int:
        return self._entries

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._file.close()

    def is_unchanged(self) -> bool:
        """Whether no writer has changed what was read so far."""
        return self._file.is_unchanged()

    def follow(self) -> None:
        """Switch to the records that have been committed meanwhile."""
        self._file.follow()
        self._begin()

    def records(self, start: int = 0, keys: bool = False) -> Iterator[bytes]:
        """Values, or keys, of the records from index `start` on.

        The positions of values are remembered, which makes further passes faster.
        """
        read, spans = self._file.read, self._spans
        known = len(spans) // 2  # another iterator may add to it meanwhile
        if not keys:
            begin, block = 0, b""
            for i in range(2 * start, 2 * known, 2):
                low, high = spans[i], spans[i + 1]
                if not begin <= low <= high <= begin + len(block):
                    begin, block = low, read(low, self._end_of_block(i, 2 * known))
                yield block[low - begin : high - begin]
            start = max(start, known)
            if start == self._entries == known:
                return
        left, number = self._entries, start
        for page in self._leaves():
            left -= len(page.nodes)
            if left < 0:
                self._damaged(page.number, "there are more records than its header says")
            skipped, start = min(start, len(page.nodes)), max(0, start - len(page.nodes))
            for node in page.nodes[skipped:]:
                if keys:
                    yield self._key(page, node)
                    continue
                low, high = self._value(page, node)
                if 2 * number == len(spans):
                    spans.extend((low, high))
                number += 1
                first = page.number * self._page
                inside = first <= low <= high <= first + self._page
                yield page.content[low - first : high - first] if inside else read(low, high)
        if left:
            raise DataError(f'LMDB "{self._folder}" is damaged: {left} of its records are not there')

    def _end_of_block(self, i: int, known: int) -> int:
        """The end of the block to read for the value of span `i`: it takes in values that follow closely."""
        end: int = self._spans[i + 1]
        last = min(i + 2 * _MAX_VALUES + 1, known - 1)
        return self._spans[last] if end < self._spans[last] < self._spans[i] + _MAX_BLOCK else end

    def keys(self) -> list[bytes]:
        """The keys of all records, ascending. Where their values lie is remembered, for `pick`."""
        found, places = list[bytes](), array("q")
        for page in self._leaves():
            for node in page.nodes:
                found.append(self._key(page, node))
                low, high, is_big = self._place(page, node)
                places.extend((-low if is_big else low, high))
        if len(found) != self._entries:
            raise DataError(
                f'LMDB "{self._folder}" is damaged: {how_many(len(found), "record")}, its header says {self._entries}'
            )
        self._keys, self._places = found, places
        return found

    def pick(self, keys: list[bytes], number: int) -> bytes | None:
        """The value of `keys[number]`, or None. It is found at once if `keys` returned this list since `follow`."""
        if keys is not self._keys:
            return self.find(keys[number])
        low, high = self._places[2 * number], self._places[2 * number + 1]
        if low >= 0:
            return self._file.read(low, high)
        content = self._file.read(-low - PAGE_HEADER, high)
        self._check_overflow(-low, content[:PAGE_HEADER])
        return content[PAGE_HEADER:]

    def find(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        number = self._root
        for depth in range(self._depth):
            leaf = depth == self._depth - 1
            page = self._load(number, _LEAF) if leaf else self._branch(number)
            low, high = (0, len(page.nodes)) if leaf else (1, len(page.nodes))  # the first child of a branch has no key
            while low < high:
                middle = (low + high) // 2
                found = self._key(page, page.nodes[middle])
                if leaf and found == key:
                    return self._file.read(*self._value(page, page.nodes[middle]))
                low, high = (middle + 1, high) if found <= key else (low, middle)
            if not leaf:
                number = self._child(page, page.nodes[low - 1])
        return None

    # -- checked steps --------------------------------------------------------------------------------------
    def _damaged(self, page: int, what: str) -> NoReturn:
        raise DataError(f'LMDB "{self._folder}" is damaged: page {page}: {what}')

    def _leaves(self) -> Iterator[_Page]:
        """The leaf pages in order."""
        if not self._entries:
            return
        steps = 0
        waiting = [[self._root]]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                continue
            number = waiting[-1].pop()
            steps += 1
            if steps > self._last:
                self._damaged(number, "the tree of pages leads in circles")
            if len(waiting) == self._depth:
                yield self._load(number, _LEAF)
            else:
                page = self._branch(number)
                waiting.append([self._child(page, node) for node in reversed(page.nodes)])

    def _branch(self, number: int) -> _Page:
        page = self._branches.get(number)
        if page is None:
            page = self._load(number, _BRANCH)
            if len(self._branches) < _MAX_BRANCHES:
                self._branches[number] = page
        return page

    def _load(self, number: int, kind: int) -> _Page:
        """Read a page of the tree. Raises DataError unless it is of this kind, branch or leaf, and consistent."""
        if not 2 <= number <= self._last:
            self._damaged(number, "is outside of the file")
        content = self._file.read(number * self._page, (number + 1) * self._page)
        _, _, flags, lower, upper = _PAGE.unpack_from(content)
        if flags & _KINDS != kind:
            self._damaged(number, f"has kind {flags:#x} in place of {kind:#x}")
        if not PAGE_HEADER < lower <= upper <= self._page or lower % 2:
            self._damaged(number, f"its nodes lie between {lower} and {upper}")
        nodes = unpack_from(f"<{(lower - PAGE_HEADER) // 2}H", content, PAGE_HEADER)
        if not PAGE_HEADER < min(nodes) <= max(nodes) <= self._page - _NODE.size:
            self._damaged(number, "a node lies outside of it")
        return _Page(number, content, nodes)

    def _inside(self, page: _Page, end: int) -> None:
        if end > self._page:
            self._damaged(page.number, "a node is larger than it")

    def _key(self, page: _Page, node: int) -> bytes:
        start = node + _NODE.size
        end = start + _NODE.unpack_from(page.content, node)[3]
        self._inside(page, end)
        return page.content[start:end]

    def _child(self, page: _Page, node: int) -> int:
        low, middle, high, _ = _NODE.unpack_from(page.content, node)
        return int(low | middle << 16 | high << 32)

    def _value(self, page: _Page, node: int) -> tuple[int, int]:
        """The first byte of a value in the file, and one past the last."""
        low, high, is_big = self._place(page, node)
        if is_big:
            self._check_overflow(low, self._file.read(low - PAGE_HEADER, low))
        return low, high

    def _place(self, page: _Page, node: int) -> tuple[int, int, bool]:
        """The first byte of a value, one past the last, and whether it has overflow pages, which are to be checked."""
        low, high, flags, key = _NODE.unpack_from(page.content, node)
        start, size = node + _NODE.size + key, low | high << 16
        first = page.number * self._page
        if flags & _SPECIAL:
            self._damaged(page.number, "holds a database of its own, or several values to a key")
        if not flags & _BIG:
            self._inside(page, start + size)
            return first + start, first + start + size, False
        self._inside(page, start + _NUMBER.size)
        number = _NUMBER.unpack_from(page.content, start)[0]
        start = number * self._page + PAGE_HEADER
        if not 2 <= number <= self._last or start + size > (self._last + 1) * self._page:
            self._damaged(number, "a value lies outside of the file")
        return start, start + size, True

    def _check_overflow(self, low: int, header: bytes) -> None:
        """Raise DataError unless a page with this header holds the value whose first byte is `low`."""
        if _PAGE.unpack(header)[2] & _KINDS != _OVERFLOW:
            self._damaged(low // self._page, "is not the value that a record says it is")
