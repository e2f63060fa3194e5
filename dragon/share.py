"""The part of a training that one of several processes, the ranks, has."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALONE", "Share"]


@dataclass(frozen=True)
class Share:
    """Rank `rank` of `ranks`. divided: the batch_size of a data layer counts the images of all ranks, not of each.

    Rank r has rows r * B to (r + 1) * B of the batch of all ranks, whose rows are in the order that one process reads.
    """

    rank: int = 0
    ranks: int = 1
    divided: bool = False

    def rows(self, batch_size: int) -> int:
        """The rows of this rank, B, where a prototxt says batch_size. Raises ValueError if they cannot be divided."""
        if not self.divided:
            return batch_size
        if batch_size % self.ranks:
            raise ValueError(f"batch_size {batch_size} cannot be divided among {self.ranks} ranks")
        return batch_size // self.ranks


ALONE = Share()
