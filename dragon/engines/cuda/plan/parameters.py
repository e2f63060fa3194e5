"""ParameterCopies: the parameters and statistics as they are before a training pass, from which it can be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.kernels.saving import CHUNK, copy_arrays
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.memory.storage import Storage

__all__ = ["ParameterCopies"]

BLOCK = 256  # bytes: where a copy begins


class ParameterCopies:
    """Copies of storages of one type, all made by one launch, which can be captured.

    storages: all of which there are copies. arrays: of the copies, flat, by storage.
    """

    def __init__(self, gpu: Gpu, arrays: Arrays, storages: Iterable[Storage]) -> None:
        self._gpu = gpu
        self._arrays = arrays
        self.storages = [storage for storage in storages if storage.count]
        self.arrays: Mapping[Storage, Any] = {}
        self._known = b""
        if not self.storages:
            return
        self._dtype = self.storages[0].dtype
        ends, offsets = 0, []
        for storage in self.storages:
            offsets.append(ends)
            ends += -(-storage.count * self._dtype.itemsize // BLOCK) * BLOCK // self._dtype.itemsize
        memory = gpu.empty(ends, self._dtype)
        self.arrays = {
            storage: memory[start : start + storage.count]
            for storage, start in zip(self.storages, offsets, strict=True)
        }
        pairs = [(i, start) for i, s in enumerate(self.storages) for start in range(0, s.count, CHUNK)]
        self._count = len(pairs)
        self._chunks = gpu.empty((self._count, 2), np.uint32)
        self._entries = gpu.empty(3 * len(self.storages), np.uint64)
        gpu.upload(self._chunks, np.array(pairs, np.uint32))

    def launch(self) -> None:
        """Copy the present values."""
        if not self.storages:
            return
        pointers = [(self._arrays.of(s).data.ptr, self.arrays[s].data.ptr, s.count) for s in self.storages]
        table = np.array(pointers, np.uint64).reshape(-1)
        known = table.tobytes()
        if known != self._known:
            self._gpu.upload(self._entries, table)
            self._known = known
        copy_arrays(self._gpu, self._dtype, grid=self._count, entries=self._entries, chunks=self._chunks)
