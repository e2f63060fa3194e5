"""Pinned: host memory that the GPU copies from and to while the host goes on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["Pinned"]


class Pinned:
    """Pinned host memory. Dropping it waits for the copies from and to it, since CuPy hands the memory out again.

    array (count): the memory; use it only as long as this object lives.
    """

    def __init__(self, gpu: Gpu, count: int, dtype: DTypeLike) -> None:
        cuda = gpu.cupy.cuda
        self.array = np.frombuffer(
            cuda.alloc_pinned_memory(max(1, count * np.dtype(dtype).itemsize)), dtype, count
        )  # fmt: skip
        self._event = cuda.Event(disable_timing=True)
        self._busy: Any = None  # an event or a stream, which ends the use by the GPU

    @property
    def address(self) -> int:
        """The memory's address, for the host and, since it is pinned, for kernels too."""
        return int(self.array.ctypes.data)

    def send(self, target: Any, stream: Any) -> None:
        """Queue a copy of the first elements to an array on the GPU."""
        target.data.copy_from_host_async(self.address, target.nbytes, stream)
        self._record(stream)

    def fetch(self, source: Any, stream: Any) -> None:
        """Queue a copy of an array on the GPU to the first elements."""
        if source.size:
            source.data.copy_to_host_async(self.address, source.nbytes, stream)
            self._record(stream)

    def _record(self, stream: Any) -> None:
        self._event.record(stream)
        self._busy = self._event

    def used_by(self, stream: Any) -> None:
        """Note that work on a stream, such as a graph that is launched again and again, may use the memory."""
        self._busy = stream

    def wait(self) -> None:
        """Wait until no copy uses the memory any more."""
        if self._busy is not None:
            self._busy.synchronize()

    def delay(self, stream: Any) -> None:
        """Let a stream wait for the last copy."""
        stream.wait_event(self._event)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # after an error of the GPU nothing uses it any more
            self.wait()
