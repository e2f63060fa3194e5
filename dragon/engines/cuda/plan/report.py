"""What a forward pass tells the host: its losses, and whether a label was no class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.base import weighted_loss
from dragon.engines.cuda.device.device import Gpu
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.loss_scale import LossScale
from dragon.engines.cuda.plan.plans import Plans
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["Faults", "Report", "losses_of", "pinned"]


def pinned(gpu: Gpu, like: Any) -> Array:
    """Host memory for an array of the GPU, from which copies need not wait."""
    memory = gpu.cupy.cuda.alloc_pinned_memory(max(1, like.nbytes))
    return np.frombuffer(memory, like.dtype, like.size)


def losses_of(net: Net, start: int, end: int) -> list[tuple[Blob, float]]:
    """The tops of layers start..end that are losses, with their weights."""
    return [
        (top, weight)
        for node in net.nodes[start : end + 1]
        for top, weight in zip(node.tops, node.loss_weights, strict=True)
        if weight
    ]


class Faults:
    """One int32 for each layer on the GPU: 0, or 1 + the position of a label that is no class."""

    def __init__(self, net: Net, gpu: Gpu, plans: Plans) -> None:
        self._plans = plans
        with gpu.active():
            self.array = gpu.zeros(len(net.nodes), np.int32)

    def of(self, layer: int) -> Any:
        return self.array[layer : layer + 1]

    def may_come(self, start: int, end: int) -> bool:
        """Whether a layer of start..end looks at labels."""
        return any(
            start <= g.first and g.last <= end and g.lowering is not None and g.lowering.fault is not None
            for g in self._plans.current.groups
        )

    def raise_for(self, found: Array) -> None:
        """DataError for the first layer that found one."""
        for group in self._plans.current.groups:
            if group.lowering is not None and found[group.first]:
                self.array[...] = 0
                message = group.lowering.describe_fault(group.bottoms, int(found[group.first]) - 1)
                raise DataError(message, layer=group.layer.where)


class Report:
    """The losses and faults of one forward over layers start..end on their way to the host."""

    def __init__(
        self, net: Net, gpu: Gpu, arrays: Arrays, faults: Faults, loss_scale: LossScale | None, start: int, end: int
    ) -> None:
        self._gpu = gpu
        self._raise = faults.raise_for
        self._parts: list[tuple[Any, Array, float, int]] = []  # the array stays alive until it was copied
        self._host_loss = 0.0
        for top, weight in losses_of(net, start, end):
            if top.data_storage.is_fresh("host"):
                self._host_loss += weighted_loss([top], [weight])
            else:
                array = arrays.of(top.data_storage)
                self._parts.append((array, self._fetch(array), weight, top.count))
        self._loss_scale = loss_scale
        self._scale = None if self._loss_scale is None else self._fetch(self._loss_scale.array)
        self._faults = self._fetch(faults.array) if faults.may_come(start, end) else None
        self._event = self._gpu.cupy.cuda.Event(disable_timing=True)
        self._event.record(self._gpu.stream)

    def _fetch(self, array: Any) -> Array:
        host = pinned(self._gpu, array)
        if array.size:
            array.data.copy_to_host_async(host.ctypes.data, array.nbytes, self._gpu.stream)
        return host

    def loss(self) -> float:
        """Wait for the forward alone; the weighted sum. DataError for a label that is no class."""
        self._event.synchronize()
        if self._faults is not None and self._faults.any():
            self._raise(self._faults)
        if self._loss_scale is not None and self._scale is not None:
            self._loss_scale.heard(self._scale)
        return self._host_loss + sum(
            weight * float(host[:count].sum(dtype=np.float64)) for _, host, weight, count in self._parts
        )
