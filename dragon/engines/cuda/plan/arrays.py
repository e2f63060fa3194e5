"""Arrays: the arrays of a net's storages on one GPU, and a record of what a run reads and writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dragon.engines.cuda.device.copies import Factors, device_array, working_array, working_place
from dragon.engines.cuda.device.device import Gpu
from dragon.engines.cuda.plan.loss_scale import LossScale
from dragon.engines.cuda.plan.types import Types
from dragon.memory.storage import Storage

__all__ = ["Arrays"]


class Arrays:
    """The arrays of a net's storages on one GPU. types: which storages are 16-bit there."""

    def __init__(self, gpu: Gpu, types: Types, loss_scale: LossScale | None = None) -> None:
        self.gpu = gpu
        self.types = types
        self.working_place = working_place(gpu, types.half) if types.half is not None else ""
        self._factors = (None, None) if loss_scale is None else (loss_scale.scale, loss_scale.inverse)
        self._float32_copies: dict[Storage, Any] | None = None  # for a running layer that takes float32
        self._changed: set[Storage] = set()  # of these, the ones that the layer may have written
        self.readonly: frozenset[int] = frozenset()  # storages that the running layer only reads
        self._storages: dict[int, Storage] = {}  # all that have a copy here
        self._touched: dict[int, Storage] | None = None  # while recording
        self._written: dict[int, Storage] | None = None
        self._working: dict[int, Storage] | None = None

    def view(self, storage: Storage, shape: tuple[int, ...]) -> Any:
        """The array that a blob hands out while a layer runs on the GPU (`ArraySpace.view`)."""
        array = self.of(storage)
        if id(storage) not in self.readonly:
            storage.notify_watchers()
            storage.wrote(self.gpu.place)
            if self._written is not None:
                self._written[id(storage)] = storage
        if self._float32_copies is not None and self.types.is_16_bit(storage):
            array = self._float32_copy(storage, array)
        count = math.prod(shape)
        return (array if array.size == count else array[:count]).reshape(shape)

    def of(self, storage: Storage) -> Any:
        """A storage's flat array on the GPU, up to date."""
        self._storages[id(storage)] = storage
        if self._touched is not None:
            self._touched[id(storage)] = storage
        return device_array(self.gpu, storage, self.types.of(storage), self._factors_of(storage))

    def _factors_of(self, storage: Storage) -> Factors:
        return self._factors if self.types.is_16_bit(storage) and self.types.is_diff(storage) else (None, None)

    # -- layers that take float32 in a net of 16 bits -------------------------------------------------------------
    @contextmanager
    def in_float(self, wanted: bool) -> Iterator[None]:
        """Within the block, if `wanted`, hand out 16-bit storages as float32 copies; write them back at its end."""
        if not wanted or self.types.half is None:
            yield
            return
        self._float32_copies, self._changed = {}, set()
        try:
            yield
            for storage in self._changed:
                array = self._float32_copies[storage]
                self.gpu.to_16_bit(array, self.of(storage), self._factors_of(storage)[0])
        finally:
            self._float32_copies = None

    def _float32_copy(self, storage: Storage, array: Any) -> Any:
        assert self._float32_copies is not None
        if id(storage) not in self.readonly:
            self._changed.add(storage)
        found = self._float32_copies.get(storage)
        if found is None:
            found = self._float32_copies[storage] = self.gpu.empty(array.size, storage.dtype)
            self.gpu.to_float32(array, found, self._factors_of(storage)[1])
        return found

    # -- parameters in 16 bits --------------------------------------------------------------------------------------
    def working(self, storage: Storage) -> Any:
        """A parameter's flat array in the type of 16-bit activations, up to date."""
        assert self.types.half is not None
        self.of(storage)
        if self._working is not None:
            self._working[id(storage)] = storage
        return working_array(self.gpu, storage, self.types.half)

    def wrote_master(self, storage: Storage) -> None:
        """Mark a parameter as updated on the GPU, together with its 16-bit copy if it has one."""
        storage.wrote(self.gpu.place)
        if storage.copy_at(self.working_place) is not None:
            storage.mark_fresh(self.working_place)

    # -- runs ---------------------------------------------------------------------------------------------------------
    @contextmanager
    def recording(
        self, touched: dict[int, Storage], written: dict[int, Storage], working: dict[int, Storage]
    ) -> Iterator[None]:
        """Within the block, record the storages that are used and written, and parameters read in 16 bits."""
        self._touched, self._written, self._working = touched, written, working
        try:
            yield
        finally:
            self._touched = self._written = self._working = None

    def begin(self) -> None:
        """Before a run: mark held storages as written on the host, since a script may have done so."""
        for storage in self._storages.values():
            if storage.held:
                storage.write()

    def end(self) -> None:
        """After a run: bring the host copies of held storages up to date."""
        for storage in self._storages.values():
            if storage.held:
                storage.read()

    def forget(self) -> None:
        """Drop storages that have no copy on this GPU any more."""
        place = self.gpu.place
        self._storages = {k: s for k, s in self._storages.items() if s.copy_at(place) is not None}
