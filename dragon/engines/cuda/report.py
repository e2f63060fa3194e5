"""What a forward pass tells the host: its losses, and whether a label was no class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.base import weighted_loss
from dragon.storage import Array

if TYPE_CHECKING:
    from dragon.engines.cuda.executor import CudaExecutor

__all__ = ["Report"]


class Report:
    """The losses and faults of one forward on their way to the host."""

    def __init__(self, executor: CudaExecutor, start: int, end: int) -> None:
        self._executor = executor
        net = executor.net
        self._parts: list[tuple[Any, Any, float, int]] = []
        self._host_loss = 0.0
        for i in range(start, end + 1):
            for top, weight in zip(net.tops[i], net.layers[i].loss_weights, strict=True):
                if not weight:
                    continue
                if top.data_storage.is_fresh("host"):
                    self._host_loss += weighted_loss([top], [weight])
                else:
                    array = executor.array_of(top.data_storage)
                    self._parts.append((array, self._fetch(array), weight, top.count))
        self._faults = self._fetch(executor.faults) if executor.labelled(start, end) else None
        self._event = executor.gpu.cupy.cuda.Event(disable_timing=True)
        self._event.record(executor.gpu.stream)

    def _fetch(self, array: Any) -> Array:
        gpu = self._executor.gpu
        memory = gpu.cupy.cuda.alloc_pinned_memory(max(1, array.nbytes))
        host = np.frombuffer(memory, array.dtype, array.size)
        if array.size:
            array.data.copy_to_host_async(host.ctypes.data, array.nbytes, gpu.stream)
        return host

    def loss(self) -> float:
        """Wait for the forward alone; the weighted sum. DataError for a label that is no class."""
        self._event.synchronize()
        if self._faults is not None and self._faults.any():
            self._executor.raise_faults(self._faults)
        return self._host_loss + sum(
            weight * float(host[:count].sum(dtype=np.float64)) for _, host, weight, count in self._parts
        )
