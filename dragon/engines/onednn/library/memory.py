"""Memories: a descriptor of a tensor, and its bytes."""

from __future__ import annotations

from ctypes import byref, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.engines.onednn.library.binding import check, library
from dragon.engines.onednn.library.constants import DataType
from dragon.engines.onednn.library.descriptor import NUMPY_TYPES, MemoryDesc
from dragon.engines.onednn.library.device import Device, Owner
from dragon.memory.aligned import address_of, aligned_bytes

__all__ = ["Memory"]


class Memory(Owner):
    """A descriptor and the bytes it describes; ``buffer`` (uint8, at least ``desc.size``) is kept alive.

    Several memories may share one buffer: those of an arena, or views of one tensor. A view's `origin` is the memory
    that it is a view of, and its bytes begin `start` bytes after the origin's. `exposed` is set on an origin when an
    array refers to its bytes, so that they must stay where they are.
    """

    def __init__(
        self,
        device: Device,
        desc: MemoryDesc,
        buffer: NDArray[np.uint8] | None = None,
        origin: Memory | None = None,
        start: int = 0,
    ) -> None:
        if buffer is None:
            buffer = aligned_bytes(desc.size)
        self.device, self.desc, self.start = device, desc, start
        self._origin = origin
        self.exposed = False
        handle, lib = c_void_p(), library()
        status = lib.memory_create(byref(handle), desc, device.engine, self._hold(buffer))
        if status:
            check(status, f"memory {desc}")
        super().__init__(handle, lib.memory_destroy)

    @staticmethod
    def wrap(device: Device, array: NDArray[Any], dtype: DataType = DataType.f32) -> Memory:
        """Memory over a C-contiguous array, without a copy. ValueError for another array or item size."""
        if not array.flags.c_contiguous or array.itemsize != np.dtype(NUMPY_TYPES[dtype]).itemsize:
            raise ValueError(f"expected a contiguous {dtype.name} array, got {array.dtype} {array.strides}")
        desc = MemoryDesc.plain(array.shape or (1,), dtype)
        return Memory(device, desc, array.reshape(-1).view(np.uint8))

    def rebind(self, buffer: NDArray[np.uint8]) -> None:
        """Use other bytes. Prepared calls use them as well, since they refer to the memory and not to its address."""
        check(library().memory_set_data_handle(self, self._hold(buffer)), "memory_set_data_handle")

    def _hold(self, buffer: NDArray[np.uint8]) -> int:
        """Keep the buffer alive; the address in it."""
        if buffer.nbytes < self.start + self.desc.size and buffer.nbytes < self.start + self.desc.span:
            raise ValueError(f"a buffer of {how_many(buffer.nbytes, 'byte')} for {self.desc} from byte {self.start}")
        self.buffer = buffer
        self._elements: NDArray[Any] | None = None
        return address_of(buffer) + self.start

    def view(self, desc: MemoryDesc, start: int = 0) -> Memory:
        """The bytes from `start` on under another descriptor."""
        return Memory(self.device, desc, self.buffer, self.origin, self.start + start)

    @property
    def origin(self) -> Memory:
        """The memory that this is a view of, or itself."""
        return self if self._origin is None else self._origin

    def elements(self) -> NDArray[Any]:
        """All elements in memory order, with the zeros that fill blocks (bf16 as uint16). Not valid after `rebind`."""
        if self._elements is None:
            dtype: np.dtype[Any] = np.dtype(NUMPY_TYPES[self.desc.dtype])
            self._elements = self.buffer[self.start : self.start + self.desc.size].view(dtype)
        return self._elements

    def numpy(self) -> NDArray[Any]:
        """A view with the logical shape, where the layout is plain (bf16 as uint16); ValueError otherwise."""
        self.origin.exposed = True
        if not self.desc.is_plain:
            raise ValueError(f"{self.desc} cannot be seen as an array")
        dtype: np.dtype[Any] = np.dtype(NUMPY_TYPES[self.desc.dtype])
        strides = tuple(stride * dtype.itemsize for stride in self.desc.strides)
        offset = self.start + self.desc.offset * dtype.itemsize
        return np.ndarray(self.desc.dims, dtype, self.buffer.data, offset, strides)
