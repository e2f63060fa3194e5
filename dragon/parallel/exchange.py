"""What the ranks of a training exchange in each iteration: gradients, losses, and requests to stop or to save."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dragon.bases.source import Prefetched
from dragon.errors import UsageError
from dragon.parallel.buckets import Bucket, buckets_of
from dragon.parallel.by_mpi import ByMpi
from dragon.parallel.ranks import Ranks
from dragon.parallel.timeline import COMPUTE, SEND, Timeline

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu
    from dragon.graph.net import Net
    from dragon.parallel.by_nccl import ByNccl
    from dragon.parallel.nccl import Nccl

__all__ = ["Exchange", "Phases"]

REQUESTS = ("snapshot", "stop")


@dataclass(frozen=True)
class Phases:
    """Where the time of an iteration goes on a rank, in milliseconds.

    read: waiting for data. wait: waiting for other ranks, or for what they send. compute: the rest.
    """

    read: float
    compute: float
    wait: float


class Exchange:
    """Makes the gradients of a net those of the batch of all ranks: their mean over the ranks.

    overlap: send gradients while backward goes on; else when it is over. wire: how they are sent, a name of
    dragon/parallel/wire.py. reduce: by what they are added up, one of WAYS in dragon/parallel/ranks.py. timeline:
    record what is done when. Raises UsageError where NCCL is asked for and cannot be used.
    """

    def __init__(
        self, net: Net, ranks: Ranks, *, overlap: bool = True, wire: str = "fp32", reduce: str = "auto",
        timeline: bool = False,
    ) -> None:  # fmt: skip
        self.net = net
        self.ranks = ranks
        self.wire = wire
        self._timeline = Timeline(ranks) if timeline else None
        noted = self._sent if timeline else None
        nccl, why = _nccl_of(net, ranks, reduce)
        self._by: ByMpi | ByNccl
        if nccl is None:
            self._by = ByMpi(ranks, overlap=overlap, wire=wire, noted=noted, why=why)
        else:
            from dragon.parallel.by_nccl import ByNccl

            self._by = ByNccl(net, ranks, nccl, overlap=overlap, wire=wire, noted=noted)
        self.buckets: list[Bucket] = []
        self._owned = [blob for blob, _ in net.owned]
        self._statistics = [blob for blob, param in net.owned if param is None]
        self._readers = [node.layer for node in net.nodes if isinstance(node.layer, Prefetched)]
        self._wait = 0.0  # seconds that the sender was waited for
        self._elsewhere = 0.0  # seconds of ranks.waited that are in _wait, or belong to no iteration
        self._iterations = 0
        self._mark = 0.0  # the end of the span before
        self._took = 0.0  # seconds of iterations
        self._before: NDArray[Any] = np.zeros(3)  # seconds at the last call of phases()

    def start(self) -> None:
        """Give all ranks rank 0's parameters, and choose the buckets. Raises UsageError if the nets differ."""
        shapes = [tuple(blob.shape) for blob in self._owned]
        if any(other != shapes for other in self.ranks.agree_all(shapes)):
            raise UsageError("the ranks have different nets")
        self._by.give(self._owned)
        self.split(self._by.least_bytes(self.net))
        self._elsewhere, self._mark = self.ranks.waited, time.perf_counter()

    def split(self, least: int) -> None:
        """Send gradients in buckets of at least `least` bytes: the same number on all ranks."""
        self.buckets = buckets_of(self.net, least)

    def describe(self) -> str:
        """How gradients are sent, in one line."""
        size, count = sum(bucket.nbytes for bucket in self.buckets), len(self.buckets)
        when = "while backward runs" if self._by.overlaps and count > 1 else "after backward"
        form = "" if self.wire == "fp32" else f" as {self.wire}"
        number = f"in {count} bucket{'s' * (count != 1)}"
        return f"gradients of {size / 2**10:,.0f} KiB are sent {self._by.name}{form} {when}, {number}{self._by.order}"

    def run(self, iter_size: int, requests: set[str]) -> tuple[float, set[str]]:
        """Forward and backward, `iter_size` times; the mean loss, and what was requested on any rank.

        The gradients are then the means over the ranks. A loss that is not finite on one rank is so on all of them,
        and they fail together.
        """
        with self._together():
            return self._run(iter_size, requests)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Within the block all ranks run the net at the same time."""
        self.ranks.stepping = True
        try:
            yield
        finally:
            self.ranks.stepping = False

    def _run(self, iter_size: int, requests: set[str]) -> tuple[float, set[str]]:
        net = self.net
        self._span("update")
        loss = sum([net.forward_backward() for _ in range(iter_size - 1)])  # a generator hides StopIteration
        waiting = list(self.buckets)

        def ready(layer: int) -> None:
            self._span("forward" if layer == len(net.nodes) else f"backward to {net.nodes[layer].name}")
            while waiting and layer <= waiting[0].layer:
                self._by.send(waiting.pop(0))

        ends = sorted({bucket.layer for bucket in self.buckets} | {0}, reverse=True)
        loss = (loss + net.forward_backward_in_parts(ends, ready)) / iter_size
        numbers = np.array([loss, *(float(what in requests) for what in REQUESTS)])
        self._by.run(lambda: self._by.sending.mean(numbers))
        began, waited = time.perf_counter(), self.ranks.waited
        self._by.finish()
        self._wait += time.perf_counter() - began + self._by.waited()
        self._elsewhere += self.ranks.waited - waited  # counted in _wait
        self._span("wait")
        self._by.put()
        self._iterations += 1
        asked = {what for what, value in zip(REQUESTS, numbers[1:], strict=True) if value > 0}
        return float(numbers[0]), asked

    def _sent(self, name: str, began: float, ended: float) -> None:
        assert self._timeline is not None
        self._timeline.add(SEND, name, began, ended)

    # -- times ----------------------------------------------------------------------------------------------
    def _span(self, name: str) -> None:
        """What was done since the span before."""
        now = time.perf_counter()
        self._took += now - self._mark
        if self._timeline is not None:
            self._timeline.add(COMPUTE, name, self._mark, now)
        self._mark = now

    @contextmanager
    def outside(self) -> Iterator[None]:
        """For tests and snapshots: the time of the block belongs to no iteration, and at its end ranks wait for all."""
        self._span("update")
        waited = self.ranks.waited
        yield
        self.ranks.wait()
        self._elsewhere += self.ranks.waited - waited
        self._mark = time.perf_counter()

    def _seconds(self) -> NDArray[Any]:
        """So far: of iterations, that waited for data, that waited for ranks."""
        read = sum(layer.waited for layer in self._readers)
        return np.array([self._took, read, self._wait + self.ranks.waited - self._elsewhere])

    def phases(self) -> list[Phases]:
        """The means of each rank over the iterations since the last call; all ranks have to call this.

        Empty where there was no iteration.
        """
        if not self._iterations:
            return []
        self._span("update")
        now = self._seconds()
        spent = (now - self._before) * 1e3 / self._iterations
        self._before, self._iterations = now, 0
        with self.outside():
            rows = self.ranks.gather(spent)
        return [Phases(float(read), max(0.0, float(took - read - wait)), float(wait)) for took, read, wait in rows]

    def write_timeline(self, path: Path) -> None:
        """Write the timeline of all ranks, which all have to call this."""
        if self._timeline is not None:
            self._by.flush()
            self._timeline.write(path)

    # -- now and then ---------------------------------------------------------------------------------------
    def forward(self) -> float:
        """Run the net forward on all ranks; the mean of their losses."""
        with self._together():
            value = np.array([self.net.run_forward()], np.float64)
        self.ranks.mean(value)
        return float(value[0])

    def first_nonfinite(self) -> str | None:
        """As Net.first_nonfinite, on the first rank that finds something; all ranks have to call this."""
        found = self.ranks.agree_all(self.net.first_nonfinite())
        return next((f"{text} on rank {rank}" for rank, text in enumerate(found) if text is not None), None)

    def statistics(self) -> None:
        """Average running statistics, which each rank has of its own batches."""
        if self._statistics:
            self._by.average(self._statistics)

    def close(self) -> None:
        """End the thread that sends."""
        self._by.close()


def _nccl_of(net: Net, ranks: Ranks, reduce: str) -> tuple[Nccl | None, str]:
    """NCCL for the GPUs of all ranks, or None, and what the log says of gradients that go by MPI for that reason."""
    gpu: Gpu | None = getattr(net.executor, "gpu", None)
    on_gpus = any(ranks.agree_all(gpu is not None))
    if reduce == "nccl" or (reduce == "auto" and on_gpus):
        from dragon.parallel.nccl import NcclMissingError, open_nccl  # for GPUs only

        try:
            return open_nccl(ranks, gpu), ""
        except NcclMissingError as error:
            if reduce == "nccl":
                raise UsageError(f"gradients cannot be added up by NCCL: {error}") from None
            return None, f" through the host ({error})"
    return None, " through the host" if on_gpus else ""
