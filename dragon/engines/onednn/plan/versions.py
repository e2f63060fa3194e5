"""Versions: which value of each storage is current while a plan is built, and its conversion into other layouts.

A layer that works in place overwrites a storage, so a storage has several versions in one run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.layouts import like, same_bytes
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.plan.bound import of_range
from dragon.engines.onednn.plan.places import Place
from dragon.engines.onednn.plan.steps import Steps
from dragon.engines.onednn.plan.values import HostValue, Layout, Value, is_unchanged, logical, reorder
from dragon.memory.blob import Blob
from dragon.memory.storage import Storage

__all__ = ["Versions"]

_numbers = itertools.count()


class Versions:
    """The versions at the point of the plan that is being built.

    steps: those of the present group and direction, to which conversions are appended. cache: whether conversions made
    for one group may serve another. lazies: storages that the plan does not compute, with the place of their LazyCopy.
    watched: blobs whose forward data the backward of the present group uses without reading them from their storage.
    """

    def __init__(self, device: Device, training: bool, cache: bool) -> None:
        self.device = device
        self.training = training
        self.cache = cache
        self.name = f"onednn{next(_numbers)}"
        self.steps = Steps()
        self.values: list[Value | HostValue] = []
        self.lazies: list[tuple[Storage, str]] = []
        self.watched: list[Blob] = []
        self.places: dict[Storage, Place] = {}  # where values are to lie that a concatenation joins
        self._now: dict[int, Value | HostValue] = {}  # storage id -> version current at this point
        self._alive: list[Storage] = []  # alive, so that no other storage gets their id
        self._protected: set[int] = set()  # ids of memories
        self._derived: list[tuple[Value | HostValue, Layout]] = []
        self.last = 0  # the last layer of the present group

    def _current(self, storage: Storage, shape: tuple[int, ...]) -> Value | HostValue:
        """The current version, in float where it is an int8 one: see `int8` for those who can read that."""
        value = self._now.get(id(storage))
        if value is None:
            return self._host_value(storage, shape)
        if isinstance(value, Value) and value.range is not None:
            return self._restored(value, value.range)
        return value

    def _host_value(self, storage: Storage, shape: tuple[int, ...]) -> HostValue:
        value = HostValue(self.device, storage, logical(shape))
        self._set(storage, value)
        return value

    def _set(self, storage: Storage, value: Value | HostValue) -> None:
        self._now[id(storage)] = value
        self._alive.append(storage)
        self.values.append(value)

    def value_of(self, blob: Blob) -> Value | HostValue:
        """The version of the blob's data at this point."""
        return self._current(blob.data_storage, blob.shape)

    def _need(self, value: Value | HostValue) -> None:
        if id(value) not in self.steps.makes:
            self.steps.needs[id(value)] = value

    def unchanged_check(self, blob: Blob) -> Callable[[], bool]:
        """A function that says between runs whether the blob still has the data that the steps so far give it."""
        storage = blob.data_storage
        value = self._now.get(id(storage))
        if isinstance(value, HostValue):
            return lambda: value.current
        places = [place for lazy, place in self.lazies if lazy is storage]
        return partial(is_unchanged, storage, value.place if value is not None else places[-1])

    def watch(self, blob: Blob) -> None:
        """Note that backward of the layer uses the blob's forward data in the plan's memory."""
        if self.owns(blob):
            self.watched.append(blob)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Meanwhile, build steps that read everything from the storages and write no other memory of the plan."""
        before = self._now, self.cache
        self._now, self.cache = {}, False
        try:
            yield
        finally:
            self._now, self.cache = before

    def checkpoint(self) -> Any:
        """The state that `rollback` returns to when a lowering gives up half-way."""
        return dict(self._now), len(self.values), len(self._derived), dict(self.places)

    def rollback(self, state: Any) -> None:
        """Undo everything since `checkpoint` returned this state."""
        now, values, derived, self.places = state
        for value, desc in self._derived[derived:]:
            del value.derived[desc]
        for value in self.values[values:]:
            if isinstance(value, Value):
                value.storage.detach(value.place)
        self._now = now
        del self.values[values:], self._derived[derived:]

    # -- in int8 --------------------------------------------------------------------------------------------
    def range_of(self, blob: Blob) -> Range | None:
        """The range of a blob's data that is there in int8; None for data in float."""
        value = self._now.get(id(blob.data_storage))
        return value.range if isinstance(value, Value) else None

    def int8(self, blob: Blob, of: Range, desc: MemoryDesc | None = None) -> Memory:
        """The blob's data rounded for a range, in a layout of this range's type; None: for data that is so already."""
        if self.range_of(blob) not in (None, of):
            self._current(blob.data_storage, blob.shape)  # in float
        value = self._now.get(id(blob.data_storage)) or self._host_value(blob.data_storage, blob.shape)
        rounding = of if self.range_of(blob) is None else None
        self._need(value)
        if desc is None:
            return value.memory
        if value.shape == desc.dims:
            return self._converted(value, desc, rounding)
        plain = self._converted(value, MemoryDesc.plain(value.shape, desc.dtype), rounding)
        seen = plain.view(MemoryDesc.plain(desc.dims, desc.dtype))
        if seen.desc == desc:
            return seen
        target = Memory(self.device, desc)
        self.steps.calls.append(reorder(self.device, seen, target))
        return target

    def make_int8(self, blob: Blob, desc: MemoryDesc, of: Range) -> Memory:
        """A new version of the blob's data, which is rounded for a range."""
        self.places.pop(blob.data_storage, None)
        return self._make(blob.data_storage, desc, None, of)

    def _restored(self, value: Value, of: Range) -> Value:
        """The version in float of one in int8, which becomes the current one."""
        self._need(value)
        memory = Memory(self.device, like(value.memory.desc, value.shape, DataType.f32))
        self.steps.calls.append(reorder(self.device, value.memory, memory, of.scale))
        self._make(value.storage, memory.desc, memory)
        made = self._now[id(value.storage)]
        made.bound = of_range(of)
        assert isinstance(made, Value)
        return made

    # -- reading --------------------------------------------------------------------------------------------
    def desc(self, blob: Blob) -> MemoryDesc:
        """The present layout of a blob's data if its value has the blob's shape; row-major otherwise."""
        value = self._current(blob.data_storage, blob.shape)
        if value.shape == logical(blob.shape):
            return value.memory.desc
        return MemoryDesc.plain(logical(blob.shape), value.memory.desc.dtype)

    def diff_desc(self, blob: Blob) -> MemoryDesc:
        """The same for a blob's diff."""
        value = self._current(blob.diff_storage, blob.shape)
        if value.shape == logical(blob.shape):
            return value.memory.desc
        return MemoryDesc.plain(logical(blob.shape), value.memory.desc.dtype)

    def data(self, blob: Blob, desc: MemoryDesc | None = None) -> Memory:
        """The blob's data in the layout `desc` (as it is if None)."""
        return self._as(self._current(blob.data_storage, blob.shape), logical(blob.shape), desc)

    def diff(self, blob: Blob, desc: MemoryDesc | None = None) -> Memory:
        """The blob's diff in the layout `desc` (as it is if None)."""
        return self._as(self._current(blob.diff_storage, blob.shape), logical(blob.shape), desc)

    def _as(self, value: Value | HostValue, shape: Shape, desc: MemoryDesc | None) -> Memory:
        self._need(value)
        memory = value.memory
        if value.shape != shape:
            memory = self._converted(value, MemoryDesc.plain(value.shape, memory.desc.dtype))
            memory = memory.view(MemoryDesc.plain(shape, memory.desc.dtype))
            if desc is None or desc == memory.desc:
                return memory
            target = Memory(self.device, desc)
            call = reorder(self.device, memory, target)
            self.steps.calls.append(call)
            value.refresh.append(call)
            return target
        return memory if desc is None else self._converted(value, desc)

    def _converted(self, value: Value | HostValue, desc: MemoryDesc, rounding: Range | None = None) -> Memory:
        """The value in a layout. rounding: the range that its float numbers are rounded for, to integers."""
        if desc == value.memory.desc:
            return value.memory
        if not self.training and rounding is None and same_bytes(value.memory.desc, desc):
            return value.memory.view(desc)
        layout: Layout = desc if rounding is None else (desc, rounding)
        if self.cache and layout in value.derived:
            return value.derived[layout]
        target = Memory(self.device, desc)
        call = reorder(self.device, value.memory, target, 1.0 if rounding is None else 1 / rounding.scale)
        self.steps.calls.append(call)
        if self.cache:
            value.derived[layout] = target
            value.refresh.append(call)
            self._derived.append((value, layout))
        return target

    def kept_source(self, bottom: Blob, *tops: Blob) -> Memory:
        """The bottom's data in memory that keeps it for backward, even if a top overwrites the storage."""
        memory = self.data(bottom)
        in_place = any(top.data_storage is bottom.data_storage for top in tops)
        if not in_place or not self.training or memory is self._owned(bottom.data_storage, bottom):
            return memory
        kept = Memory(self.device, memory.desc)
        self.steps.calls.append(reorder(self.device, memory, kept))
        return kept

    def source_again(self, bottom: Blob, source: Memory, *tops: Blob) -> Memory:
        """For backward: the memory of `kept_source` if a top has the same storage, else the bottom's present data."""
        in_place = any(top.data_storage is bottom.data_storage for top in tops)
        return source if in_place else self.data(bottom, source.desc)

    def owns(self, blob: Blob) -> bool:
        """Whether the blob's data lies in memory of the plan with the blob's shape, free to be overwritten in place."""
        memory = self._owned(blob.data_storage, blob)
        return memory is not None and id(memory) not in self._protected

    def has(self, blob: Blob) -> bool:
        """Whether the blob's data lies in memory of the plan with the blob's shape."""
        return self._owned(blob.data_storage, blob) is not None

    def protect(self, memory: Memory) -> None:
        """Let no layer overwrite this memory in place: backward reads it, or other values lie there."""
        self._protected.add(id(memory))

    def owns_diff(self, blob: Blob) -> bool:
        """The same for its diff."""
        return self._owned(blob.diff_storage, blob) is not None

    def _owned(self, storage: Storage, blob: Blob) -> Memory | None:
        value = self._now.get(id(storage))
        return value.memory if isinstance(value, Value) and value.shape == logical(blob.shape) else None

    # -- writing --------------------------------------------------------------------------------------------
    def make(self, blob: Blob, desc: MemoryDesc, memory: Memory | None = None) -> Memory:
        """A new version of the blob's data, in new memory or in `memory` (for in-place work)."""
        place = self.places.pop(blob.data_storage, None)
        if memory is None and place is not None and place.desc == desc:
            memory = place.memory(self.device)
        return self._make(blob.data_storage, desc, memory)

    def make_diff(self, blob: Blob, desc: MemoryDesc, memory: Memory | None = None) -> Memory:
        """A new version of the blob's diff."""
        return self._make(blob.diff_storage, desc, memory)

    def _make(self, storage: Storage, desc: MemoryDesc, memory: Memory | None, of: Range | None = None) -> Memory:
        memory = memory or Memory(self.device, desc)
        value = Value(self.device, storage, memory, f"{self.name}.{len(self.values)}", of)
        self._set(storage, value)
        self.steps.makes[id(value)] = value
        return memory

    def copy_data(self, source: Blob, target: Blob) -> None:
        """Copy the source's data into the target."""
        memory = self.data(source)
        self.steps.calls.append(reorder(self.device, memory, self.make(target, memory.desc)))

    def copy_diff(self, source: Blob, target: Blob) -> None:
        """Copy the source's diff into the target."""
        memory = self.diff(source)
        self.steps.calls.append(reorder(self.device, memory, self.make_diff(target, memory.desc)))
