"""Feed: copies batches to an array on the GPU while it computes with earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.precision import arithmetic

if TYPE_CHECKING:
    from dragon.engines.cuda.device.device import Gpu

__all__ = ["Feed"]


class Feed:
    """Copies host values into an array while the GPU still computes with the last ones.

    The values pass through pinned memory and, on the stream for copies, one of two buffers. The stream for computing
    then copies the buffer into the array; in its type and `layout`. Values
    that become 16-bit are multiplied by `factor` (1; None: 1).
    """

    def __init__(self, gpu: Gpu, array: Any, factor: Any = None, layout: Layout | None = None) -> None:
        self._gpu = gpu
        self._array = array
        self._factor = factor
        self._layout = layout
        dtype = arithmetic(array.dtype)
        cuda = gpu.cupy.cuda
        size = array.size * dtype.itemsize
        self._host = [np.frombuffer(cuda.alloc_pinned_memory(size), dtype, array.size) for _ in range(2)]
        self._buffers = [gpu.empty(array.size, dtype) for _ in range(2)]
        self._arrived = [cuda.Event(disable_timing=True) for _ in range(2)]
        self._taken = [cuda.Event(disable_timing=True) for _ in range(2)]
        self._next = 0

    def send(self, values: np.ndarray[Any, Any]) -> None:
        """Copy `values` (count) into the array. The caller may change them at once."""
        gpu, k = self._gpu, self._next
        self._next = 1 - k
        host, buffer = self._host[k], self._buffers[k]
        self._arrived[k].synchronize()  # of two calls ago, so this seldom waits
        np.copyto(host, values)
        gpu.copy_stream.wait_event(self._taken[k])
        buffer.data.copy_from_host_async(host.ctypes.data, buffer.nbytes, gpu.copy_stream)
        self._arrived[k].record(gpu.copy_stream)
        gpu.stream.wait_event(self._arrived[k])
        gpu.convert(buffer, self._array, self._factor, None, self._layout)
        self._taken[k].record(gpu.stream)
