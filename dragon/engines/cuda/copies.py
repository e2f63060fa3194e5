"""A Storage's copy on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dragon.engines.cuda.device import Device
from dragon.storage import Array, Storage

__all__ = ["DeviceCopy", "device_array"]

FEED_BYTES = 1 << 16  # smaller copies return at once even from ordinary memory


class DeviceCopy:
    """`array` (count) holds the value of a storage. To be used while its GPU is active."""

    def __init__(self, device: Any, array: Any) -> None:
        self.device = device
        self.array = array
        self.shares = False  # the array lies in an arena, where others may overwrite it
        self.restore: Callable[[], None] | None = None  # before somebody reads what may have been overwritten
        self._feed: Any = None
        self._uploads = 0

    def to_host(self, host: Array) -> None:
        if self.restore is not None:
            self.restore()
        with self.device.active():
            self.array.get(stream=self.device.stream, out=host[: self.array.size])

    def from_host(self, host: Array) -> None:
        with self.device.active():
            values = host[: self.array.size]
            self._uploads += 1
            if self._feed is None and self._uploads > 1 and self.array.nbytes >= FEED_BYTES:
                self._feed = self.device.feed(self.array)
            if self._feed is not None:
                self._feed.send(values)
            else:
                self.device.upload(self.array, values)

    def drop_feed(self) -> None:
        """The array is going to be another one."""
        self._feed, self._uploads = None, 0


def device_array(device: Device, storage: Storage) -> Any:
    """The flat array of a storage at `device`, made when there is none yet; it holds the newest value."""
    copy = storage.copy_at(device.place)
    if copy is None:
        fresh = not storage.allocated and storage.is_fresh("host")  # zero, and nobody has seen it
        make = device.zeros if fresh else device.empty
        copy = DeviceCopy(device, make(storage.count, storage.dtype))
        storage.attach(device.place, copy)
        if fresh:
            storage.wrote(device.place)
    assert isinstance(copy, DeviceCopy)
    if not storage.is_fresh(device.place):
        storage.sync(device.place)
    elif copy.restore is not None:
        copy.restore()
    return copy.array
