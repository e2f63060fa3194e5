"""Feed: copies batches to an array on the GPU while it computes with earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.pinned import Pinned
from dragon.engines.cuda.device.precision import arithmetic

if TYPE_CHECKING:
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["Feed"]


class Feed:
    """Copies host values into an array while the GPU still computes with the last ones.

    The values pass through pinned memory and, on the stream for copies, one of two buffers. The stream for computing
    then copies the buffer into the array, in its type and `layout`. Values that become 16-bit are multiplied by
    `factor` (1; None: 1).
    """

    def __init__(self, gpu: Gpu, array: Any, factor: Any = None, layout: Layout | None = None) -> None:
        self._gpu = gpu
        self._array = array
        self._factor = factor
        self._layout = layout
        dtype = arithmetic(array.dtype)
        self._host = [Pinned(gpu, array.size, dtype) for _ in range(2)]
        self._buffers = [gpu.empty(array.size, dtype) for _ in range(2)]
        self._free = [gpu.cupy.cuda.Event(disable_timing=True) for _ in range(2)]  # when a buffer may be written
        for event in self._free:
            event.record(gpu.stream)  # earlier work there may still use the memory that the pool has given
        self._next = 0

    def send(self, values: np.ndarray[Any, Any]) -> None:
        """Copy `values` (count) into the array. The caller may change them at once."""
        gpu, k = self._gpu, self._next
        self._next = 1 - k
        host, buffer = self._host[k], self._buffers[k]
        host.wait()  # for the copy of two calls ago, so this seldom takes time
        np.copyto(host.array, values)
        gpu.copy_stream.wait_event(self._free[k])
        host.send(buffer, gpu.copy_stream)
        host.delay(gpu.stream)
        gpu.convert(buffer, self._array, self._factor, None, self._layout)
        self._free[k].record(gpu.stream)
