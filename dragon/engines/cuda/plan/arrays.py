"""Arrays: the arrays of a net's storages on one GPU, and a record of what a run reads and writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dragon.engines.cuda.device.copies import (
    DeviceCopy,
    Factors,
    WorkingCopy,
    device_array,
    working_array,
    working_place,
)
from dragon.engines.cuda.device.gpu import Gpu
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.plan.layouts import Layouts
from dragon.engines.cuda.plan.loss_scale import LossScale
from dragon.engines.cuda.plan.types import Types
from dragon.memory.changes import Changes
from dragon.memory.storage import Storage, held_among

__all__ = ["Arrays"]


class Arrays:
    """The arrays of a net's storages on one GPU. types, layouts: which of these each storage has there."""

    def __init__(self, gpu: Gpu, types: Types, layouts: Layouts, loss_scale: LossScale | None = None) -> None:
        self.gpu = gpu
        self.types = types
        self.layouts = layouts
        self.working_place = working_place(gpu, types.half) if types.half is not None else ""
        self.last_place = working_place(gpu, types.half or "float32", channels_last=True)
        self._factors = (None, None) if loss_scale is None else (loss_scale.scale, loss_scale.inverse)
        self._copies: dict[Storage, Any] | None = None  # for a running layer that takes another type or layout
        self._copies_are_float32 = self._copies_are_channels_first = False
        self._changed: set[Storage] = set()  # of these, the ones that the layer may have written
        self.readonly: frozenset[int] = frozenset()  # storages that the running layer only reads
        self._storages: dict[int, Storage] = {}  # all that have a copy here
        self._changes = Changes()  # of these, the ones that somebody may hold a view of
        self._touched: dict[int, Storage] | None = None  # while recording
        self._written: dict[int, Storage] | None = None
        self._parameters: dict[str, dict[int, Storage]] | None = None

    def view(self, storage: Storage, shape: tuple[int, ...]) -> Any:
        """The array that a blob hands out while a layer runs on the GPU (`ArraySpace.view`)."""
        array = self.of(storage)
        if id(storage) not in self.readonly:
            storage.notify_watchers()
            storage.wrote(self.gpu.place)
            if self._written is not None:
                self._written[id(storage)] = storage
        if self._copies is not None and self._needs_copy(storage):
            array = self._copy(storage, array)
        count = math.prod(shape)
        return (array if array.size == count else array[:count]).reshape(shape)

    def of(self, storage: Storage) -> Any:
        """A storage's flat array on the GPU, up to date."""
        if id(storage) not in self._storages:
            self._storages[id(storage)] = storage
            self._changes.follow(storage)
        if self._touched is not None:
            self._touched[id(storage)] = storage
        dtype, layout = self.types.of(storage), self.layouts.of(storage)
        return device_array(self.gpu, storage, dtype, self.factors_of(storage), layout)

    def factors_of(self, storage: Storage) -> Factors:
        """The loss scale that a 16-bit gradient is multiplied by, and its inverse; None for other storages: 1."""
        return self._factors if self.types.is_16_bit(storage) and self.types.is_diff(storage) else (None, None)

    # -- layers that take another type or layout than their blobs have ------------------------------------------------
    @contextmanager
    def in_form(self, float32: bool, channels_last: bool) -> Iterator[None]:
        """Within the block, hand out copies of storages that the running layer cannot take; write them back at its end.

        float32: it takes no 16-bit storages. channels_last: it takes storages with channels last, else none.
        """
        float32 = float32 and self.types.half is not None
        if not float32 and (channels_last or not self.layouts.blobs):
            yield
            return
        self._copies, self._changed = {}, set()
        self._copies_are_float32, self._copies_are_channels_first = float32, not channels_last
        try:
            yield
            for storage in self._changed:
                array, target = self._copies[storage], self.of(storage)
                factor = self.factors_of(storage)[0] if array.dtype != target.dtype else None
                self.gpu.convert(array, target, factor, self._layout_of_copy(storage), self.layouts.of(storage))
        finally:
            self._copies = None

    def _needs_copy(self, storage: Storage) -> bool:
        return (self._copies_are_float32 and self.types.is_16_bit(storage)) or (
            self._copies_are_channels_first and self.layouts.of(storage) is not None
        )

    def _layout_of_copy(self, storage: Storage) -> Layout | None:
        return None if self._copies_are_channels_first else self.layouts.of(storage)

    def _copy(self, storage: Storage, array: Any) -> Any:
        assert self._copies is not None
        if id(storage) not in self.readonly:
            self._changed.add(storage)
        found = self._copies.get(storage)
        if found is None:
            dtype = storage.dtype if self._copies_are_float32 else array.dtype
            found = self._copies[storage] = self.gpu.empty(array.size, dtype)
            factor = self.factors_of(storage)[1] if dtype != array.dtype else None
            self.gpu.convert(array, found, factor, self.layouts.of(storage), self._layout_of_copy(storage))
        return found

    # -- copies of parameters ---------------------------------------------------------------------------------------
    def working(self, storage: Storage) -> Any:
        """A parameter's flat array in the type of 16-bit activations, up to date."""
        assert self.types.half is not None
        self._copy_is_read(storage, self.working_place)
        return working_array(self.gpu, storage, self.types.half)

    def weight_last(self, storage: Storage, layout: Layout) -> Any:
        """A parameter's flat array in the type of the activations with its channels last, up to date.

        None where another layer, which shares the parameter, reads such a copy in another shape.
        """
        if self.layout_of_copy(storage) not in (None, layout):
            return None
        self._copy_is_read(storage, self.last_place)
        return working_array(self.gpu, storage, self.types.half or storage.dtype, layout)

    def refresh_copy(self, storage: Storage, place: str) -> Any:
        """The flat array of a parameter's copy at one of these places, up to date."""
        if place != self.last_place:
            return self.working(storage)
        layout = self.layout_of_copy(storage)
        assert layout is not None
        return self.weight_last(storage, layout)

    def layout_of_copy(self, storage: Storage) -> Layout | None:
        """The layout of a parameter's copy with its channels last; None where there is no such copy."""
        copy = storage.copy_at(self.last_place)
        return copy.layout if isinstance(copy, WorkingCopy) else None

    def _copy_is_read(self, storage: Storage, place: str) -> None:
        self.of(storage)
        if self._parameters is not None:
            self._parameters.setdefault(place, {})[id(storage)] = storage

    # -- runs ---------------------------------------------------------------------------------------------------------
    @contextmanager
    def recording(
        self, touched: dict[int, Storage], written: dict[int, Storage], parameters: dict[str, dict[int, Storage]]
    ) -> Iterator[None]:
        """Within the block, record the storages that are used and written, and parameters read from copies by place."""
        self._touched, self._written, self._parameters = touched, written, parameters
        try:
            yield
        finally:
            self._touched = self._written = self._parameters = None

    def begin(self) -> None:
        """Before a run: mark held storages as written on the host, since a script may have done so."""
        for storage in self._held():
            storage.write()

    def end(self) -> None:
        """After a run: bring the host copies of held storages up to date."""
        for storage in self._held():
            storage.read()

    def _held(self) -> list[Storage]:
        """The held storages. One that was not held becomes so only by a new view, which makes it a changed one."""
        changes = list(self._changes)
        held = held_among(changes)
        self._changes.looked_at(changes)
        self._changes.look_at(held)
        return held

    def have_moved(self) -> bool:
        """Whether a storage has lost its copy on this GPU, as one does that grows."""
        return any(storage.copy_at(self.gpu.place) is None for storage in self._storages.values())

    def adopt(self, types: Types, layouts: Layouts) -> None:
        """Use the types and layouts of another plan: graphs write arrays without looking at the layout of the copy."""
        changed = layouts.differ_from(self.layouts)
        self.types, self.layouts = types, layouts
        if not changed:
            return
        for storage in self._storages.values():
            copy, layout = storage.copy_at(self.gpu.place), layouts.of(storage)
            if isinstance(copy, DeviceCopy) and not copy.is_in_arena and copy.layout != layout:
                copy.change_layout(layout, storage.is_fresh(self.gpu.place))

    def forget(self) -> None:
        """Drop storages that have no copy on this GPU any more."""
        place = self.gpu.place
        gone = {k: s for k, s in self._storages.items() if s.copy_at(place) is None}
        self._changes.unfollow(gone.values())
        self._storages = {k: s for k, s in self._storages.items() if k not in gone}
