"""What the ranks of a training exchange in each iteration: gradients, losses, and requests to stop or to save."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import UsageError
from dragon.memory.storage import Storage
from dragon.parallel.ranks import Ranks

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Exchange"]

REQUESTS = ("snapshot", "stop")


class Exchange:
    """Makes the gradients of a net those of the batch of all ranks: their mean over the ranks."""

    def __init__(self, net: Net, ranks: Ranks) -> None:
        self.ranks = ranks
        self._vector: NDArray[Any] | None = None  # used again in each iteration
        self._owned = [blob for blob, _ in net.owned]
        self._learned = [p.blob for p in net.learnable]
        self._statistics = [blob for blob, param in net.owned if param is None]

    def start(self) -> None:
        """Give all ranks rank 0's parameters. Raises UsageError if the nets differ."""
        shapes = [tuple(blob.shape) for blob in self._owned]
        if any(other != shapes for other in self.ranks.agree_all(shapes)):
            raise UsageError("the ranks have different nets")
        for blob in self._owned:
            _put(self.ranks.agree(blob.peek().ravel()), [(blob.data_storage, blob.count)])

    def gradients(self, loss: float, requests: set[str]) -> tuple[float, set[str]]:
        """Average the gradients; the mean loss, and what was requested on any rank.

        A loss that is not finite on one rank is so on all of them, and they fail together.
        """
        flags = [float(what in requests) for what in REQUESTS]
        parts = [blob.peek_diff().ravel() for blob in self._learned]
        numbers = np.array([loss, *flags], parts[0].dtype if parts else np.float32)
        self._vector = vector = np.concatenate([numbers, *parts], out=self._vector)
        self.ranks.mean(vector)
        _put(vector[numbers.size :], [(blob.diff_storage, blob.count) for blob in self._learned])
        asked = {what for what, value in zip(REQUESTS, vector[1:], strict=False) if value > 0}
        return float(vector[0]), asked

    def mean_loss(self, loss: float) -> float:
        """The mean of the ranks' losses."""
        value = np.array([loss], np.float64)
        self.ranks.mean(value)
        return float(value[0])

    def statistics(self) -> None:
        """Average running statistics, which each rank has of its own batches."""
        if self._statistics:
            vector = np.concatenate([blob.peek().ravel() for blob in self._statistics])
            self.ranks.mean(vector)
            _put(vector, [(blob.data_storage, blob.count) for blob in self._statistics])


def _put(vector: NDArray[Any], storages: Iterable[tuple[Storage, int]]) -> None:
    """Spread a vector over storages, each with its number of elements."""
    k = 0
    for storage, count in storages:
        storage.overwrite()[:count] = vector[k : k + count]
        k += count
