"""Base of readers of what a list names: which entries a batch takes, and where the next one begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dragon.data.batches import Batch
from dragon.data.transform import RandomWords
from dragon.share import ALONE, Share

__all__ = ["ListedReader", "Order"]

Order = Callable[[int], Sequence[int] | NDArray[np.intp]]


class ListedReader:
    """Takes `batch_size` of `count` entries at a time, epoch by epoch; the base of Producers for the Prefetcher.

    order(epoch): the order in which that epoch takes the entries. The position counts entries from the start of the
    first epoch; rng: the stream of the reader's random draws. share: of several ranks, each of which takes its rows of
    the batch of all.
    """

    def __init__(self, count: int, batch_size: int, rng: RandomWords, order: Order, share: Share = ALONE) -> None:
        self._share = share
        self._count = count
        self._batch_size = batch_size
        self._rng = rng
        self._order = order
        self._position = 0
        self._epoch: tuple[int, Sequence[int] | NDArray[np.intp]] | None = None

    def state(self) -> tuple[int, int]:
        """(position, draws) from which the next batch is read."""
        return self._position, self._rng.draws

    def seek(self, position: int, draws: int) -> None:
        """Continue as after the batch with these two numbers."""
        self._position = position
        self._rng.draws = draws
        self._epoch = None

    def close(self) -> None:
        """Release the files; here no file stays open."""

    def fill(self, batch: Batch | None = None) -> Batch:
        """The next batch, in the arrays of `batch` if one is given. Raises DataError."""
        raise NotImplementedError

    def take(self) -> list[int]:
        """The indices of the entries of the next batch, which the position moves behind."""
        first = self._position + self._share.rank * self._batch_size
        chosen = [self.index(first + i) for i in range(self._batch_size)]
        self._position += self._share.ranks * self._batch_size
        return chosen

    def index(self, position: int) -> int:
        """The index of the entry at a position."""
        epoch, index = divmod(position, self._count)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._order(epoch)
        return int(self._epoch[1][index])
