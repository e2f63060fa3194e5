"""The copies of a storage on a GPU: its value, and that of a parameter in 16 bits."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.engines.cuda.device.device import Device
from dragon.engines.cuda.device.layout import Layout
from dragon.engines.cuda.device.precision import is_16_bit
from dragon.memory.storage import Array, Storage

__all__ = ["DeviceCopy", "Factors", "WorkingCopy", "device_array", "working_array", "working_place"]

Factors = tuple[Any, Any]

FEED_BYTES = 1 << 16  # smaller copies do not wait even from memory that is not pinned


class DeviceCopy:
    """The value of a storage in `array` (count), maybe in 16 bits. To be used while its GPU is active.

    factors: the loss scale of 16-bit gradients and its inverse, (1) each, on the device; None: 1. layout: of the array.
    """

    def __init__(self, device: Any, array: Any, factors: Factors = (None, None), layout: Layout | None = None) -> None:
        self.device = device
        self.array = array
        self.factors = factors
        self.layout = layout
        self.shares = False  # the array has a place in an arena, where others may overwrite it
        self.is_twin = False  # the array is at the place of another copy, which holds the same value
        self.restore: Callable[[], None] | None = None  # recomputes the value if it was overwritten
        self._feed: Any = None
        self._uploads = 0

    @property
    def is_in_arena(self) -> bool:
        """Whether others may overwrite the array."""
        return self.shares or self.is_twin

    def to_host(self, host: Array) -> None:
        """Copy the value to the host array, in its type and without the loss scale."""
        if self.restore is not None:
            self.restore()
        with self.device.active():
            array = self.array
            if self._is_converted:
                array = self.device.empty(array.size, host.dtype)
                self.device.convert(self.array, array, self.factors[1], self.layout, None)
            array.get(stream=self.device.stream, out=host[: array.size])

    def from_host(self, host: Array) -> None:
        """Copy the host array's value to the device. The caller may change it at once."""
        with self.device.active():
            values = host[: self.array.size]
            self._uploads += 1
            if self._feed is None and self._uploads > 1 and self.array.nbytes >= FEED_BYTES:
                self._feed = self.device.feed(self.array, self.factors[0], self.layout)
            if self._feed is not None:
                self._feed.send(values)
            elif self._is_converted:
                array = self.device.empty(values.size, values.dtype)
                self.device.upload(array, values)
                self.device.convert(array, self.array, self.factors[0], None, self.layout)
            else:
                self.device.upload(self.array, values)

    @property
    def _is_converted(self) -> bool:
        """Whether the array differs from the host's in type or layout."""
        return self.layout is not None or is_16_bit(self.array.dtype)

    def change_layout(self, layout: Layout | None, is_fresh: bool) -> None:
        """Give the array another layout. is_fresh: whether it holds the newest value, which then stays the same."""
        if is_fresh and self.array is not None:
            before = self.array.copy()
            self.device.convert(before, self.array, None, self.layout, layout)
        self.layout = layout
        self.drop_feed()

    def drop_feed(self) -> None:
        """Forget the feed, since `array` is about to be replaced."""
        self._feed, self._uploads = None, 0


class WorkingCopy:
    """A parameter in another type or layout. The master on the same device is fresh whenever this copy is."""

    def __init__(self, device: Device, storage: Storage, array: Any, layout: Layout | None) -> None:
        self.array = array
        self.layout = layout
        self._place = device.place
        self._storage = weakref.ref(storage)

    def to_host(self, host: Array) -> None:
        """Copy the master's value to the host."""
        storage = self._storage()
        master = None if storage is None else storage.copy_at(self._place)
        assert master is not None
        master.to_host(host)

    def from_host(self, host: Array) -> None:
        """Not used: the values come from the master."""
        raise NotImplementedError  # working_array converts the master


def working_place(device: Device, dtype: DTypeLike, channels_last: bool = False) -> str:
    """The name of the place of a storage's WorkingCopy."""
    return f"{device.place} {np.dtype(dtype).name}" + " channels last" * channels_last


def working_array(device: Device, storage: Storage, dtype: DTypeLike, layout: Layout | None = None) -> Any:
    """The flat array (count) of a parameter in this type and layout, up to date."""
    place = working_place(device, dtype, layout is not None)
    master = device_array(device, storage, storage.dtype)
    copy = storage.copy_at(place)
    if copy is None:
        copy = WorkingCopy(device, storage, device.empty(storage.count, dtype), layout)
        storage.attach(place, copy)
    assert isinstance(copy, WorkingCopy)
    assert copy.layout == layout
    if not storage.is_fresh(place):
        device.convert(master, copy.array, None, None, layout)
        storage.mark_fresh(place)
    return copy.array


def device_array(
    device: Device, storage: Storage, dtype: DTypeLike, factors: Factors = (None, None), layout: Layout | None = None
) -> Any:
    """The flat array (count) of a storage at `device`, up to date, of this type and layout; made if there is none."""
    copy = storage.copy_at(device.place)
    if isinstance(copy, DeviceCopy) and copy.array.dtype != dtype:
        storage.detach(device.place)
        copy = None
    if copy is None:
        fresh = not storage.allocated and storage.is_fresh("host")  # still zero, and never handed out
        make = device.zeros if fresh else device.empty
        copy = DeviceCopy(device, make(storage.count, dtype), factors, layout)
        storage.attach(device.place, copy)
        if fresh:
            storage.wrote(device.place)
    assert isinstance(copy, DeviceCopy)
    if copy.layout != layout:
        copy.change_layout(layout, storage.is_fresh(device.place))
    if not storage.is_fresh(device.place):
        storage.sync(device.place)
    elif copy.restore is not None:
        copy.restore()
    return copy.array
