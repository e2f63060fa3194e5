"""Buckets: the gradients of a net in the order in which backward completes them, in vectors of a useful size.

A bucket is sent while backward goes on below it. Small ones cost a latency each, large ones begin late; so the size
comes from a measurement. The sums do not depend on it: each number is added up by itself, in the order of the ranks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.memory.blob import Blob
from dragon.memory.storage import Storage
from dragon.parallel.ranks import Ranks
from dragon.parallel.wire import Wire, exponents

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Bucket", "bucket_bytes", "buckets_of", "learned_bytes", "spread"]

LEAST, MOST = 1 << 18, 1 << 25  # bytes of a bucket
_SMALL, _LARGE = 1 << 15, 1 << 22  # bytes of the vectors that are measured
_TIMES = 5
_SHARE = 10  # a bucket takes at least that many latencies to send


@dataclass
class Bucket:
    """Gradients that are sent together. layer: they are complete when backward has run down to this layer."""

    layer: int
    blobs: list[Blob]

    def __post_init__(self) -> None:
        self._vector: NDArray[Any] | None = None  # used again in each iteration

    @property
    def nbytes(self) -> int:
        """Bytes of the gradients."""
        return sum(map(_bytes, self.blobs))

    def fill(self) -> None:
        """Copy the gradients of the blobs."""
        self._vector = np.concatenate([blob.peek_diff().ravel() for blob in self.blobs], out=self._vector)

    def reduce(self, ranks: Ranks, wire: Wire | None) -> None:
        """Replace the copies by their means over the ranks."""
        vector = self._vector
        assert vector is not None, "before fill"
        if wire is None or vector.dtype != np.float32 or ranks.size == 1:
            ranks.mean(vector)
            return
        if not wire.scaled:
            ranks.mean(vector, wire)
            return
        parts = np.split(vector, np.cumsum([blob.count for blob in self.blobs])[:-1])  # views
        powers = ranks.gather(exponents(parts)).min(axis=0) - ranks.headroom
        for part, power in zip(parts, powers, strict=True):
            np.ldexp(part, power, out=part)
        ranks.mean(vector, wire)
        for part, power in zip(parts, powers, strict=True):
            np.ldexp(part, -power, out=part)

    def put(self) -> None:
        """Copy the means to the blobs."""
        assert self._vector is not None, "before fill"
        spread(self._vector, [(blob.diff_storage, blob.count) for blob in self.blobs])


def spread(vector: NDArray[Any], storages: Iterable[tuple[Storage, int]]) -> None:
    """Copy a vector to storages, each with its number of elements."""
    k = 0
    for storage, count in storages:
        storage.overwrite()[:count] = vector[k : k + count]
        k += count


def buckets_of(net: Net, least: int) -> list[Bucket]:
    """The learned blobs of a net in buckets of at least `least` bytes, but for the last, whose gradients come first."""
    lowest: dict[object, int] = {}  # of the layers that add to a gradient
    for node in net.nodes:
        for blob in node.layer.blobs:
            lowest.setdefault(blob.diff_storage, node.index)
    blobs = [p.blob for p in net.learnable if p.blob.count]
    order = sorted(range(len(blobs)), key=lambda k: (-lowest[blobs[k].diff_storage], k))
    found: list[Bucket] = []
    chosen: list[Blob] = []
    size = 0
    for k in order:
        chosen.append(blobs[k])
        size += _bytes(blobs[k])
        if size >= least:
            found.append(_bucket(chosen, lowest))
            chosen, size = [], 0
    return [*found, _bucket(chosen, lowest)] if chosen else found


def _bucket(blobs: Sequence[Blob], lowest: dict[object, int]) -> Bucket:
    return Bucket(min(lowest[blob.diff_storage] for blob in blobs), list(blobs))


def learned_bytes(net: Net) -> int:
    """Bytes of the gradients of a net."""
    return sum(_bytes(p.blob) for p in net.learnable)


def _bytes(blob: Blob) -> int:
    return blob.count * blob.dtype.itemsize


def bucket_bytes(ranks: Ranks, total: int) -> int:
    """The least size of a bucket for gradients of `total` bytes, the same on all ranks; measured if it matters."""
    if total <= LEAST or ranks.size == 1:
        return LEAST
    small, large = (_seconds(ranks, size) for size in (_SMALL, _LARGE))
    slope = max((large - small) / (_LARGE - _SMALL), 1e-12)
    latency = max(small - slope * _SMALL, 0.0)
    return int(ranks.agree(min(max(_SHARE * latency / slope, LEAST), MOST)))


def _seconds(ranks: Ranks, size: int) -> float:
    """The median time of a mean of `size` bytes."""
    vector = np.zeros(size // 4, np.float32)
    times = []
    for _ in range(_TIMES + 1):
        ranks.wait()
        began = time.perf_counter()
        ranks.mean(vector)
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))
