"""Reads records in a new random order every epoch, which depends only on the seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["KeyedReader", "ShuffledReader"]


class KeyedReader(Protocol):
    """Records that can be fetched in any order."""

    path: str

    def __len__(self) -> int: ...

    def keys(self) -> list[bytes]:
        """The keys of all records."""
        ...

    def pick(self, keys: list[bytes], numbers: Sequence[int]) -> list[bytes]:
        """The records of `keys[i]` for each i of `numbers`; keys: as `keys` returned them. Raises DataError."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


class ShuffledReader:
    """Reads `source` epoch by epoch, in the order `order(epoch, number of records)`.

    `position` counts records over all epochs, and is the whole state of a reader.
    """

    def __init__(self, source: KeyedReader, order: Callable[[int, int], NDArray[np.int64]]) -> None:
        self.path = source.path
        self.position = 0
        self._source = source
        self._keys = source.keys()
        self._order = order
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def read(self, count: int) -> list[bytes]:
        """The next `count` records."""
        records: list[bytes] = []
        while len(records) < count:
            first = self._in_epoch(self.position + len(records))
            numbers = self._permutation[first : first + count - len(records)].tolist()
            records += self._source.pick(self._keys, numbers)
        self.position += count
        return records

    def key(self, position: int) -> bytes:
        """The key of record `position`, counted over all epochs."""
        index = self._in_epoch(position)
        return self._keys[int(self._permutation[index])]

    def _in_epoch(self, position: int) -> int:
        """The place of record `position` in its epoch, whose order then is the present one."""
        epoch, index = divmod(position, len(self._keys))
        if epoch != self._epoch:
            self._epoch, self._permutation = epoch, self._order(epoch, len(self._keys))
        return index

    def seek(self, position: int) -> None:
        """Move to record `position`, counted over all epochs, in the order of the seed that holds from now on."""
        self.position = position
        self._epoch = -1

    def skip(self, count: int) -> None:
        """Move `count` records on."""
        self.position += count

    def close(self) -> None:
        """Release the source."""
        self._source.close()
