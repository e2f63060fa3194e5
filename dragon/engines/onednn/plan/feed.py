"""Copies a batch of 8-bit images into a data layer's top as float32, minus the mean, on all threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dragon.bases.source import host_array
from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import Alg, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.values import borrowed, reorder
from dragon.memory.storage import Array

if TYPE_CHECKING:
    from dragon.bases.source import Prefetched
    from dragon.data.batches import Batch
    from dragon.memory.blob import Blob

__all__ = ["Feed"]

_NOTHING = np.empty(0, np.uint8)


class Feed:
    """Delivers batches of one layer. Batches that need more than a mean subtracted are left to the layer."""

    def __init__(self, device: Device, layer: Prefetched) -> None:
        self._device, self._layer = device, layer
        self._known: tuple[int, tuple[int, ...]] = (0, ())  # address and shape that the calls are for
        self._source: Memory | None = None
        self._calls: list[Call] = []

    def deliver(self, batch: Batch, tops: list[Blob]) -> None:
        """As `layer.deliver`."""
        transformer = self._layer.maker.transformer
        content = batch.bytes
        if (
            content is None
            or content.places.any()  # mirrored, or cropped
            or content.images.shape != tops[0].shape
            or transformer.scale != 1
            or tops[0].dtype != np.float32
        ):
            self._layer.deliver(batch, tops)
            return
        target = host_array(tops[0])
        key = target.ctypes.data, target.shape
        if self._source is None or key != self._known:
            self._prepare(target, transformer.mean)
            self._known = key
        assert self._source is not None
        images = np.ascontiguousarray(content.images)
        self._source.rebind(images.reshape(-1))
        for call in self._calls:
            call()
        self._source.buffer = _NOTHING
        self._layer.deliver_labels(batch, tops)

    def _prepare(self, target: Array, mean: Array | None) -> None:
        device = self._device
        self._source = Memory(device, MemoryDesc.plain(target.shape, DataType.u8))
        made = borrowed(device, target, target.shape)
        self._calls = [reorder(device, self._source, made)]
        if mean is not None:
            taken = Memory.wrap(device, np.ascontiguousarray(mean[np.newaxis], np.float32))
            primitive = combine.binary(device, Alg.binary_sub, made.desc, taken.desc)
            self._calls.append(Call(primitive, {Arg.SRC: made, Arg.SRC_1: taken, Arg.DST: made}))
