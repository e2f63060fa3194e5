"""ByNccl: sends gradients by NCCL, from the memory of one GPU to that of another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dragon.engines.cuda.device.precision import PRECISIONS
from dragon.memory.blob import Blob
from dragon.memory.storage import Storage
from dragon.parallel.buckets import Bucket
from dragon.parallel.by_mpi import Noted
from dragon.parallel.nccl import Nccl
from dragon.parallel.ranks import Ranks

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["BUCKET", "ByNccl"]

BUCKET = 1 << 22  # least bytes of a bucket. NCCL's order of sums may depend on sizes, so none comes from a measurement
_ALIGNED = 8  # 16-bit numbers of 16 bytes, which kernels read at once
_LARGEST, _MOST = 15, 126  # exponents: fp16 numbers are below 2^16, powers of 2 in float32 below 2^127


class OnGpu(Protocol):
    """What is needed of an executor whose gradients are on a GPU."""

    launches_parts: bool  # whether backward in parts is one launch for each part

    def arrays_of(self, storages: Sequence[Storage], begin: bool = False) -> list[Any]:
        """The flat arrays of storages on the GPU, up to date. begin: not in the middle of a run. The GPU is active."""
        ...

    def have_changed(self, storages: Sequence[Storage]) -> None:
        """Note that work on the GPU's stream, launched by others, has changed these arrays. The GPU is active."""
        ...


class ByNccl:
    """Makes gradients their means over the ranks on a stream of its own, while backward goes on. As ByMpi.

    The stream waits for the kernels that compute a bucket, and the update waits for the stream; the host waits for
    neither. What the host has, losses and requests, goes by MPI.
    """

    def __init__(
        self, net: Net, ranks: Ranks, nccl: Nccl, *, overlap: bool, wire: str, noted: Noted | None = None
    ) -> None:
        executor: Any = net.executor
        self._executor: OnGpu = executor
        self._executor.launches_parts = self.overlaps = overlap
        self._nccl = nccl
        self._gpu = nccl.gpu
        self._half = PRECISIONS[wire]
        self._scaled = wire == "fp16"
        self._noted = noted
        self.sending = ranks
        ranks.on_gpu = self._total
        self.name, self.order = f"by NCCL {nccl.version}", ""
        self._jobs: list[Callable[[], None]] = []
        self._sent: list[Storage] = []
        self._vectors: dict[int, Any] = {}  # of 16 bits, by the layer of the bucket
        cuda = self._gpu.cupy.cuda
        with self._gpu.active():
            self.stream = cuda.Stream(non_blocking=True)
            self._complete = cuda.Event(disable_timing=True)
            self._zero = cuda.Event()
            self._zero.record(self._gpu.stream)
            self._zero.synchronize()
            self._began = time.perf_counter()  # the moment of that event
        self._spans: list[tuple[str, Any, Any]] = []  # what was sent, and the events of its begin and end
        self._ended = 0  # how many of them belong to the iteration before
        self._ends: tuple[Any, Any] | None = None  # of the last iteration: when backward ended, when all was sent

    def least_bytes(self, net: Net) -> int:
        """The least size of a bucket, the same on all ranks and in each run."""
        return BUCKET if self.overlaps else 1 << 62

    # -- whole blobs --------------------------------------------------------------------------------------------
    def give(self, blobs: Sequence[Blob]) -> None:
        """Give all ranks rank 0's values."""
        with self._changing(blobs) as arrays:
            self._nccl.give(arrays, self._gpu.stream)

    def average(self, blobs: Sequence[Blob]) -> None:
        """Replace values by their means over the ranks."""
        with self._changing(blobs) as arrays:
            self._nccl.add_up(arrays, self._gpu.stream)
            self._divide(arrays)

    @contextmanager
    def _changing(self, blobs: Sequence[Blob]) -> Iterator[list[Any]]:
        """The arrays of blobs, for a block that launches their change."""
        blobs = [blob for blob in blobs if blob.count]
        storages = [blob.data_storage for blob in blobs]
        with self._gpu.active():
            arrays = self._executor.arrays_of(storages, begin=True)
            yield [array[: blob.count] for array, blob in zip(arrays, blobs, strict=True)]
            self._executor.have_changed(storages)

    def _total(self, vector: Any) -> None:
        """Put into a vector on the GPU its sum over the ranks, in the order of the stream that computes."""
        self._nccl.add_up([vector], self._gpu.stream)

    def _divide(self, arrays: Sequence[Any]) -> None:
        for array in arrays:
            array /= array.dtype.type(self._nccl.size)

    # -- gradients ----------------------------------------------------------------------------------------------
    def send(self, bucket: Bucket) -> None:
        """Begin to replace the gradients of a bucket, whose kernels have been launched, by their means."""
        storages = [blob.diff_storage for blob in bucket.blobs]
        with self._gpu.active():
            whole = self._executor.arrays_of(storages)
            arrays = [array[: blob.count] for array, blob in zip(whole, bucket.blobs, strict=True)]
            self._complete.record(self._gpu.stream)
            with self.stream:
                self.stream.wait_event(self._complete)
                begin = self._event()
                if self._half is None or any(array.dtype != np.float32 for array in arrays):
                    self._nccl.add_up(arrays, self.stream)
                    self._divide(arrays)
                else:
                    self._reduce_16_bits(bucket, arrays)
                if begin is not None:
                    self._spans.append((f"{bucket.nbytes / 1024:.0f} KiB", begin, self._event()))
        self._sent += storages

    def _reduce_16_bits(self, bucket: Bucket, arrays: Sequence[Any]) -> None:
        """Put into float32 arrays their means over the ranks, added up in 16 bits."""
        assert self._half is not None
        gpu, ends = self._gpu, np.cumsum([0, *(-(-array.size // _ALIGNED) * _ALIGNED for array in arrays)])
        vector = self._vectors.get(bucket.layer)
        if vector is None or vector.size != ends[-1]:
            vector = self._vectors[bucket.layer] = gpu.zeros(int(ends[-1]), self._half)
        parts = [vector[start : start + array.size] for start, array in zip(ends[:-1], arrays, strict=True)]
        there, back = self._factors(arrays)
        for k, (array, part) in enumerate(zip(arrays, parts, strict=True)):
            gpu.to_16_bit(array, part, None if there is None else there[k : k + 1])
        self._nccl.add_up([vector], self.stream)
        for k, (array, part) in enumerate(zip(arrays, parts, strict=True)):
            gpu.to_float32(part, array, back[k : k + 1])

    def _factors(self, arrays: Sequence[Any]) -> tuple[Any, Any]:
        """By what each array is multiplied before it is added up in 16 bits, None for 1, and its sum afterwards.

        In fp16 a power of 2, so that no sum of all ranks reaches 2^15 and small numbers keep their bits.
        """
        xp, size = self._gpu.cupy, np.float32(self._nccl.size)
        if not self._scaled:
            return None, xp.zeros(len(arrays), np.float32) + np.float32(1) / size
        largest = xp.empty(len(arrays), np.float32)
        for k, array in enumerate(arrays):
            largest[k] = xp.maximum(array.max(), -array.min())
        self._nccl.largest([largest], self.stream)
        usable = xp.isfinite(largest) & (largest > 0)
        _, exponent = xp.frexp(xp.where(usable, largest, np.float32(1)))
        spare = _LARGEST - (self._nccl.size - 1).bit_length()
        power = xp.clip(spare - exponent, -_MOST, _MOST)
        there = xp.ldexp(xp.ones_like(largest), power)
        return there, xp.ldexp(xp.ones_like(largest), -power) / size

    # -- the end of an iteration ----------------------------------------------------------------------------------
    def run(self, job: Callable[[], None]) -> None:
        """Run a job, which may use `sending`, when it is waited for."""
        self._jobs.append(job)

    def finish(self) -> None:
        """Run the jobs that `run` has got."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job()

    def put(self) -> None:
        """Let the stream that computes wait for the means."""
        cuda = self._gpu.cupy.cuda
        with self._gpu.active():
            ends = cuda.Event(), cuda.Event()
            ends[0].record(self._gpu.stream)
            ends[1].record(self.stream)
            self._gpu.stream.wait_event(ends[1])
            self._executor.have_changed(self._sent)
        self._sent, self._ends = [], ends

    def waited(self) -> float:
        """Seconds that the GPU has waited for gradients in the iteration before: its end is known by now."""
        ends, self._ends = self._ends, None
        if ends is None:
            self._ended = len(self._spans)
            return 0.0
        ends[1].synchronize()
        self._note(self._ended)
        self._ended = len(self._spans)
        return max(0.0, float(self._gpu.cupy.cuda.get_elapsed_time(*ends)) / 1e3)

    def flush(self) -> None:
        """Wait for what was sent, and note it."""
        with self._gpu.active():
            self.stream.synchronize()
        self._note(len(self._spans))
        self._ended = 0

    def _note(self, count: int) -> None:
        """Report the first spans to the timeline, which end by now."""
        between = self._gpu.cupy.cuda.get_elapsed_time
        for name, *events in self._spans[:count]:
            assert self._noted is not None
            begin, end = (self._began + between(self._zero, event) / 1e3 for event in events)
            self._noted(name, begin, end)
        del self._spans[:count]

    def _event(self) -> Any:
        """An event on the stream, now; None without a timeline."""
        if self._noted is None:
            return None
        event = self._gpu.cupy.cuda.Event()
        event.record(self.stream)
        return event

    def close(self) -> None:
        """Leave the executor as it was."""
        self.sending.on_gpu = None
        self._executor.launches_parts = False
