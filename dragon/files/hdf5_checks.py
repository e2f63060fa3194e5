"""Checks of an untrusted HDF5 file before the library reads it.

With damaged heaps the library uses up all memory. External links, external storage and virtual datasets read other
files. Stacked compression filters unpack kilobytes to gigabytes.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import Any

from dragon.counting import how_many
from dragon.errors import WeightsError, one_line
from dragon.files.reading import open_regular
from dragon.proto.checksum import MARK, damaged, marked

__all__ = ["check_bytes", "check_contents", "check_sizes", "checksum_of_bytes"]

# first bytes of a local heap (names) and a global heap (strings): signature, version, three zeros; the size follows
_NAMES, _STRINGS = b"HEAP\0\0\0\0", b"GCOL\1\0\0\0"
_HEAPS = (_NAMES, _STRINGS)
_NAMES_HEAP = Struct("<QQQ")  # size, offset of the first gap, address of the content
_GAP = Struct("<QQ")  # offset of the next gap, size
_NO_GAP = 1
_LENGTH = Struct("<Q")
_SIZE_OF_LENGTHS = 14  # byte of the superblock that holds the size of lengths
_SUPERBLOCK = 96
_SUM = len(marked(0))  # bytes of the checksum of all bytes before it, at the end of our files
# size of a dataset over size of its file; one filter cannot compress more, so a larger ratio means a damaged shape
_MAX_RATIO = 1100
_ALWAYS_ALLOWED = 1 << 26  # bytes; chunks that were never written take no space in a file


def checksum_of_bytes(content: bytes) -> bytes:
    """What to append to an HDF5 file of ours: a mark and the CRC-32 of its bytes.

    The library ignores bytes behind the end of a file, and drops them from a file that it changes.
    """
    return marked(zlib.crc32(content))


def check_bytes(path: str | Path) -> None:
    """Check the bytes of a file before the library reads them.

    Raises WeightsError where they differ from the file's checksum, and for a heap that is larger than the file, or
    whose free list is circular: with either the library uses up all memory.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size < _SUPERBLOCK:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _check_checksum(path, content)
                if content[_SIZE_OF_LENGTHS] != _LENGTH.size:
                    return
                for head in _HEAPS:
                    at = content.find(head)
                    while 0 <= at <= size - len(head) - _LENGTH.size:
                        if _LENGTH.unpack_from(content, at + len(head))[0] > size:
                            raise WeightsError(f"{path}: damaged: a heap at byte {at} is larger than the file")
                        if head is _NAMES and _goes_round(content, at + len(head)):
                            raise WeightsError(f"{path}: damaged: the gaps of a heap at byte {at} form a circle")
                        at = content.find(head, at + 1)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None


def _check_checksum(path: str | Path, content: mmap.mmap) -> None:
    end = len(content) - _SUM
    expected = content[end:]
    if not expected.startswith(MARK):
        return
    with memoryview(content) as view, view[:end] as summed:
        found = marked(zlib.crc32(summed))
    if found != expected:
        raise damaged(path, *(each[len(MARK) :].decode("latin-1") for each in (found, expected)))


def _goes_round(content: mmap.mmap, at: int) -> bool:
    """Whether the free list of a heap has more entries than fit into the heap, so that it is circular."""
    if at + _NAMES_HEAP.size > len(content):
        return False
    size, gap, start = _NAMES_HEAP.unpack_from(content, at)
    left = size // _GAP.size + 1
    while gap != _NO_GAP and gap + _GAP.size <= size and start + gap + _GAP.size <= len(content):
        left -= 1
        if left < 0:
            return True
        gap = _GAP.unpack_from(content, start + gap)[0]
    return False


def check_contents(path: str | Path, file: Any) -> None:
    """Raise WeightsError for links out of the file, and for datasets that are stored elsewhere or compressed twice.

    Every object that hard links reach is checked; soft links can only lead to those.
    """
    import h5py

    seen: set[int] = set()
    pending = [h5py.h5g.open(file.id, b"/")]
    while pending:
        group = pending.pop()
        for name in group:
            link = group.links.get_info(name)
            if link.type == h5py.h5l.TYPE_SOFT:
                continue
            if link.type != h5py.h5l.TYPE_HARD:
                raise WeightsError(f"{path}: {_shown(name)} is a link to another file: these are not followed")
            if link.u in seen:
                continue
            seen.add(link.u)
            try:
                item = h5py.h5o.open(group, name)
            except (KeyError, RuntimeError, ValueError, OSError):
                continue  # damaged; reading it fails as well
            if isinstance(item, h5py.h5g.GroupID):
                pending.append(item)
            elif isinstance(item, h5py.h5d.DatasetID):
                _check_storage(path, name, item.get_create_plist())


def _check_storage(path: str | Path, name: bytes, plist: Any) -> None:
    import h5py

    if plist.get_external_count():
        raise WeightsError(f"{path}: the values of {_shown(name)} lie in another file: these are not read")
    if plist.get_layout() == h5py.h5d.VIRTUAL:
        raise WeightsError(f"{path}: {_shown(name)} is a virtual dataset, which takes its values from other files")
    harmless = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    packed = [code for code in (plist.get_filter(i)[0] for i in range(plist.get_nfilters())) if code not in harmless]
    if len(packed) > 1:
        raise WeightsError(
            f"{path}: {_shown(name)} is packed by {how_many(len(packed), 'filter')}, at most one is read"
        )


def _shown(name: bytes) -> str:
    return one_line(f'"{name.decode("utf-8", "backslashreplace")}"')


def check_sizes(datasets: Iterable[Any]) -> None:
    """Raise ValueError if datasets claim more bytes than their file can hold, before memory is allocated for them."""
    total = 0
    for dataset in datasets:
        chunks = dataset.chunks or ()
        chunk_bytes = dataset.dtype.itemsize
        for extent in chunks:
            chunk_bytes *= int(extent)
        total += max(dataset.nbytes, chunk_bytes if chunks else 0)
        if total > max(_ALWAYS_ALLOWED, _MAX_RATIO * os.path.getsize(dataset.file.filename)):
            raise ValueError(f"dataset {dataset.name} of shape {dataset.shape} in a small file")
