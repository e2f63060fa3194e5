"""The part of a training that one of several processes, the ranks, has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dragon.counting import how_many

__all__ = ["ALONE", "Share", "Total"]

Total = Callable[[Any], None]  # replaces a contiguous vector, on the host or a GPU, by its sum over the ranks


@dataclass(frozen=True)
class Share:
    """Rank `rank` of `ranks`. divided: the batch_size of a data layer counts the images of all ranks, not of each.

    Rank r has rows r * B to (r + 1) * B of the batch of all ranks, whose rows are in the order that one process reads.
    total: adds up over the ranks, for batch normalisation by the rows of all: of the layers that ask for it by their
    type SyncBN, or of all where `synchronised`. None: each rank normalises by its own rows.
    """

    rank: int = 0
    ranks: int = 1
    divided: bool = False
    total: Total | None = None
    synchronised: bool = False

    def rows(self, batch_size: int) -> int:
        """The rows of this rank, B, where a prototxt says batch_size. Raises ValueError if they cannot be divided."""
        if not self.divided:
            return batch_size
        if batch_size % self.ranks:
            raise ValueError(f"batch_size {batch_size} cannot be divided among {how_many(self.ranks, 'rank')}")
        return batch_size // self.ranks


ALONE = Share()
