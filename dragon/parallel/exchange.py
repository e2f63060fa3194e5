"""What the ranks of a training exchange in each iteration: gradients, losses, and requests to stop or to save."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.errors import UsageError
from dragon.parallel.ranks import Ranks

if TYPE_CHECKING:
    from dragon.graph.net import Net
    from dragon.memory.blob import Blob

__all__ = ["Exchange"]

REQUESTS = ("snapshot", "stop")


class Exchange:
    """Makes the gradients of a net those of the batch of all ranks: their mean over the ranks."""

    def __init__(self, net: Net, ranks: Ranks) -> None:
        self.ranks = ranks
        self._net = net
        self._learned = [p.blob for p in net.learnable]
        self._vector: NDArray[Any] = np.empty(0, np.float32)

    def start(self) -> None:
        """Give all ranks rank 0's parameters. Raises UsageError if the nets differ."""
        shapes = [tuple(blob.shape) for blob in _parameters(self._net)]
        if any(other != shapes for other in self.ranks.agree_all(shapes)):
            raise UsageError("the ranks have different nets")
        for blob in _parameters(self._net):
            blob.data_storage.overwrite()[: blob.count] = self.ranks.agree(blob.peek().ravel())

    def gradients(self, loss: float, requests: set[str]) -> tuple[float, set[str]]:
        """Average the gradients; the mean loss, and what was requested on any rank.

        A loss that is not finite on one rank is so on all of them, and they fail together.
        """
        flags = [float(what in requests) for what in REQUESTS]
        vector = self._filled([loss, *flags])
        self.ranks.mean(vector)
        k = 1 + len(flags)
        for blob in self._learned:
            blob.diff_storage.overwrite()[: blob.count] = vector[k : k + blob.count]
            k += blob.count
        asked = {what for what, value in zip(REQUESTS, vector[1:], strict=False) if value > 0}
        return float(vector[0]), asked

    def mean_loss(self, loss: float) -> float:
        """The mean of the ranks' losses."""
        value = np.array([loss], np.float64)
        self.ranks.mean(value)
        return float(value[0])

    def statistics(self) -> None:
        """Average running statistics, which each rank has of its own batches."""
        blobs = list(_statistics(self._net))
        if not blobs:
            return
        vector = np.concatenate([blob.peek().ravel() for blob in blobs])
        self.ranks.mean(vector)
        k = 0
        for blob in blobs:
            blob.data_storage.overwrite()[: blob.count] = vector[k : k + blob.count]
            k += blob.count

    def _filled(self, numbers: list[float]) -> NDArray[Any]:
        size = len(numbers) + sum(blob.count for blob in self._learned)
        dtype = self._learned[0].peek_diff().dtype if self._learned else np.float32
        if self._vector.size != size or self._vector.dtype != dtype:
            self._vector = np.empty(size, dtype)
        vector = self._vector
        vector[: len(numbers)] = numbers
        k = len(numbers)
        for blob in self._learned:
            vector[k : k + blob.count] = blob.peek_diff().ravel()
            k += blob.count
        return vector


def _parameters(net: Net) -> Iterator[Blob]:
    for node in net.nodes:
        yield from node.layer.blobs


def _statistics(net: Net) -> Iterator[Blob]:
    for node in net.nodes:
        for i in sorted(node.layer.buffers):
            if i < len(node.layer.blobs):
                yield node.layer.blobs[i]
