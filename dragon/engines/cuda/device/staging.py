"""Staging: the small values that the host sets before each run, sent to the GPU by one copy from pinned memory."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from dragon.engines.cuda.device.pinned import Pinned

if TYPE_CHECKING:
    from dragon.engines.cuda.device.device import Device
    from dragon.engines.cuda.device.gpu import Gpu

__all__ = ["Staged", "Staging", "Uploaded"]

BYTES = 1 << 15  # of the block
MOST = 1 << 13  # bytes of one array; larger ones are sent by themselves
ALIGNMENT = 16


class Staged(Protocol):
    """An array on the device that the host sets before each run. array: it, flat."""

    array: Any

    def set(self, values: ArrayLike) -> None:
        """Set all elements, as later launches see them. The caller may change `values` at once."""


class Uploaded:
    """Staged, by a copy of its own for each `set`."""

    def __init__(self, device: Device, count: int, dtype: DTypeLike) -> None:
        self._device = device
        self.array = device.empty(count, dtype)

    def set(self, values: ArrayLike) -> None:
        """See Staged."""
        self._device.upload(self.array, np.ascontiguousarray(values, self.array.dtype))


class Staging:
    """A block of pinned memory and its copy on the GPU, in which each Staged array has its place."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._host = Pinned(gpu, BYTES, np.uint8)
        self._block = gpu.empty(BYTES, np.uint8)
        self._used = 0
        self._used_part = self._block[:0]
        self._free: dict[int, list[int]] = {}  # places of arrays that are gone, by their size
        self._is_set = False  # since the last copy
        self._lock = threading.Lock()  # nets of several threads may use the GPU

    def take(self, count: int, dtype: DTypeLike) -> Staged | None:
        """A new array; None if there is no place for it."""
        size = -(-count * np.dtype(dtype).itemsize // ALIGNMENT) * ALIGNMENT
        with self._lock:
            places = self._free.get(size)
            if places:
                start = places.pop()
            elif size <= MOST and self._used + size <= BYTES:
                start = self._used
                self._used += size
                self._used_part = self._block[: self._used]
            else:
                return None
        return _Part(self, start, size, count, np.dtype(dtype))

    def part(self, start: int, end: int, dtype: np.dtype[Any]) -> tuple[Any, np.ndarray[Any, Any]]:
        """The bytes from `start` to `end` as an array on the GPU, and as one in pinned memory."""
        return self._block[start:end].view(dtype), self._host.array[start:end].view(dtype)

    def give_back(self, start: int, size: int) -> None:
        """Let another array have this place."""
        self._free.setdefault(size, []).append(start)

    def write(self, part: np.ndarray[Any, Any], values: ArrayLike) -> None:
        """Set a part of the pinned memory. The GPU has it after `send`."""
        with self._lock:
            if not self._is_set:
                self._host.wait()  # for the last copy, which has ended if somebody waited for a result of its run
                self._is_set = True
            part[:] = values

    def send(self) -> None:
        """Queue the copy of what was set since the last one, if anything was."""
        if self._is_set:
            with self._lock:
                self._host.send(self._used_part, self._gpu.stream)
                self._is_set = False


class _Part:
    """Staged, as a part of the block."""

    def __init__(self, staging: Staging, start: int, size: int, count: int, dtype: np.dtype[Any]) -> None:
        self._staging = staging
        self.array, self._pinned = staging.part(start, start + count * dtype.itemsize, dtype)
        weakref.finalize(self, staging.give_back, start, size).atexit = False

    def set(self, values: ArrayLike) -> None:
        """See Staged."""
        self._staging.write(self._pinned, values)
