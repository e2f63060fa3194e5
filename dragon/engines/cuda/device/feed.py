"""Feed: batches of host values on their way to an array, while the GPU computes with the ones before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.precision import arithmetic, is_16_bit

if TYPE_CHECKING:
    from dragon.engines.cuda.device.device import Gpu

__all__ = ["Feed"]


class Feed:
    """Copies host values into an array while the GPU still computes with the last ones.

    Through pinned memory, on the stream for copies, into one of two buffers; the stream that computes then moves the
    buffer into the array, where they may get 16 bits.
    """

    def __init__(self, gpu: Gpu, array: Any, factor: Any = None) -> None:
        self._gpu = gpu
        self._array = array
        self._factor = factor
        dtype = arithmetic(array.dtype)
        cuda = gpu.cupy.cuda
        size = array.size * dtype.itemsize
        self._host = [np.frombuffer(cuda.alloc_pinned_memory(size), dtype, array.size) for _ in range(2)]
        self._buffers = [gpu.empty(array.size, dtype) for _ in range(2)]
        self._arrived = [cuda.Event(disable_timing=True) for _ in range(2)]
        self._taken = [cuda.Event(disable_timing=True) for _ in range(2)]
        self._next = 0

    def send(self, values: np.ndarray[Any, Any]) -> None:
        """Copy `values` into the array; they may be changed as soon as this returns."""
        gpu, k = self._gpu, self._next
        self._next = 1 - k
        host, buffer = self._host[k], self._buffers[k]
        self._arrived[k].synchronize()  # long ago: two rounds
        np.copyto(host, values)
        gpu.copy_stream.wait_event(self._taken[k])
        buffer.data.copy_from_host_async(host.ctypes.data, buffer.nbytes, gpu.copy_stream)
        self._arrived[k].record(gpu.copy_stream)
        gpu.stream.wait_event(self._arrived[k])
        if is_16_bit(self._array.dtype):
            gpu.to_16_bit(buffer, self._array, self._factor)
        else:
            self._array[...] = buffer
        self._taken[k].record(gpu.stream)
