"""ByMpi: sends gradients by MPI, from host memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dragon.counting import how_many
from dragon.memory.blob import Blob
from dragon.parallel.buckets import Bucket, bucket_bytes, learned_bytes, spread
from dragon.parallel.ranks import Ranks
from dragon.parallel.sender import Sender
from dragon.parallel.wire import WIRES

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["ByMpi", "Noted"]

Noted = Callable[[str, float, float], None]  # takes what was sent, and when it began and ended by time.perf_counter


class ByMpi:
    """Makes gradients their means over the ranks by MPI, on a thread of its own while backward goes on.

    overlap: whether there is such a thread; else they are sent when they are waited for. wire: the form in which they
    are sent. noted: called for each bucket, or None. why: what the log says after "by MPI".
    """

    def __init__(self, ranks: Ranks, *, overlap: bool, wire: str, noted: Noted | None = None, why: str = "") -> None:
        self._ranks = ranks
        self._wire = WIRES[wire]
        self._noted = noted
        twin = ranks.twin() if overlap else None
        self.sending = ranks if twin is None else twin  # the ranks as the sender calls them
        self._sender = Sender(threaded=twin is not None)
        self._sent: list[Bucket] = []
        self.name = f"by MPI{why}"

    @property
    def order(self) -> str:
        """In what order they are added up, for the log; "" for that of the ranks."""
        machines = len(self._ranks.groups)
        return f", added up on each of {how_many(machines, 'machine')} first" if machines > 1 else ""

    @property
    def overlaps(self) -> bool:
        """Whether gradients are sent while backward goes on."""
        return self._sender.threaded

    def least_bytes(self, net: Net) -> int:
        """The least size of a bucket, the same on all ranks."""
        return bucket_bytes(self.sending, learned_bytes(net)) if self.overlaps else 1 << 62

    def give(self, blobs: Sequence[Blob]) -> None:
        """Give all ranks rank 0's values."""
        for blob in blobs:
            spread(self._ranks.agree(blob.peek().ravel()), [(blob.data_storage, blob.count)])

    def average(self, blobs: Sequence[Blob]) -> None:
        """Replace values by their means over the ranks."""
        vector = np.concatenate([blob.peek().ravel() for blob in blobs])
        self._ranks.mean(vector)
        spread(vector, [(blob.data_storage, blob.count) for blob in blobs])

    def send(self, bucket: Bucket) -> None:
        """Begin to replace the gradients of a bucket, which are complete, by their means."""
        bucket.fill()
        self._sender.send(partial(self._reduce, bucket))
        self._sent.append(bucket)

    def run(self, job: Callable[[], None]) -> None:
        """Run a job, which may use `sending`, behind what was sent."""
        self._sender.send(job)

    def finish(self) -> None:
        """Wait for the job that `run` has got last."""
        self._sender.finish()

    def put(self) -> None:
        """Let the net have the means, once they are there."""
        for bucket in self._sent:
            bucket.put()
        self._sent.clear()

    def waited(self) -> float:
        """Seconds that the device has waited for gradients since the last call, beside those spent in `finish`."""
        return 0.0

    def flush(self) -> None:
        """Note all that was sent."""

    def close(self) -> None:
        """End the thread that sends."""
        self._sender.close()

    def _reduce(self, bucket: Bucket) -> None:
        began = time.perf_counter()
        bucket.reduce(self.sending, self._wire)
        if self._noted is not None:
            self._noted(f"{bucket.nbytes / 1024:.0f} KiB", began, time.perf_counter())
