"""Report: the losses of a forward pass, and whether a label was out of range, on their way to the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dragon.engines.base import weighted_loss
from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.device.pinned import Pinned
from dragon.engines.cuda.kernels.kernel import MOST
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.plan.loss_scale import LossScale
from dragon.engines.cuda.plan.plans import Plans
from dragon.errors import DataError
from dragon.memory.blob import Blob
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["RangeErrors", "Report", "losses_of"]


def losses_of(net: Net, start: int, end: int) -> list[tuple[Blob, float]]:
    """The tops of layers start..end that are losses, with their weights."""
    return [
        (top, weight)
        for node in net.nodes[start : end + 1]
        for top, weight in zip(node.tops, node.loss_weights, strict=True)
        if weight
    ]


class RangeErrors:
    """One int32 for each layer on the GPU: 0, or 2^31 - 1 - the first position of a label that is out of range."""

    def __init__(self, net: Net, gpu: Gpu, plans: Plans) -> None:
        self._plans = plans
        with gpu.active():
            self.array = gpu.zeros(len(net.nodes), np.int32)

    def of(self, layer: int) -> Any:
        """The element of a layer, (1)."""
        return self.array[layer : layer + 1]

    def are_possible(self, start: int, end: int) -> bool:
        """Whether a layer of start..end checks labels or indices."""
        return any(
            start <= g.first and g.last <= end and g.lowering is not None and g.lowering.out_of_range is not None
            for g in self._plans.current.groups
        )

    def raise_for(self, found: Array) -> None:
        """Raise DataError for the first layer whose element of `found` is not 0."""
        for group in self._plans.current.groups:
            if group.lowering is not None and found[group.first]:
                self.array[...] = 0
                message = group.lowering.describe_out_of_range(group.bottoms, MOST - int(found[group.first]))
                raise DataError(message, layer=group.layer.where)


class Report:
    """The losses and range errors of one forward over layers start..end on their way to the host."""

    def __init__(
        self,
        net: Net,
        gpu: Gpu,
        arrays: Arrays,
        range_errors: RangeErrors,
        loss_scale: LossScale | None,
        start: int,
        end: int,
    ) -> None:
        self._gpu = gpu
        self._raise = range_errors.raise_for
        self._parts: list[tuple[Any, Pinned, float, int]] = []  # the array is kept until it was copied
        self._host_loss = 0.0
        for top, weight in losses_of(net, start, end):
            if top.data_storage.is_fresh("host"):
                self._host_loss += weighted_loss([top], [weight])
            else:
                array = arrays.of(top.data_storage)
                self._parts.append((array, self._fetch(array), weight, top.count))
        self._loss_scale = loss_scale
        self._scale = None if self._loss_scale is None else self._fetch(self._loss_scale.array)
        self._range_errors = self._fetch(range_errors.array) if range_errors.are_possible(start, end) else None

    def _fetch(self, array: Any) -> Pinned:
        host = Pinned(self._gpu, array.size, array.dtype)
        host.fetch(array, self._gpu.stream)
        return host

    def loss(self) -> float:
        """Wait for forward alone and return the weighted sum. DataError for a label that is out of range."""
        for host in self._copies():
            host.wait()
        if self._range_errors is not None and self._range_errors.array.any():
            self._raise(self._range_errors.array)
        if self._loss_scale is not None and self._scale is not None:
            self._loss_scale.check(self._scale.array)
        return self._host_loss + sum(
            weight * float(host.array[:count].sum(dtype=np.float64)) for _, host, weight, count in self._parts
        )

    def _copies(self) -> list[Pinned]:
        others = [host for host in (self._scale, self._range_errors) if host is not None]
        return [*(host for _, host, _, _ in self._parts), *others]
