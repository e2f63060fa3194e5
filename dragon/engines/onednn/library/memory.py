"""Engine and stream, memory descriptors (shape, type, layout), and memories (a descriptor and its bytes)."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable, Hashable
from ctypes import byref, c_int, c_int64, c_void_p
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragon.counting import how_many
from dragon.engines.onednn.library.binding import check, dims, library
from dragon.engines.onednn.library.constants import DataType, FormatKind, Query, Tag
from dragon.memory.aligned import address_of, aligned_bytes

__all__ = ["Device", "Memory", "MemoryDesc", "Owner", "Shape"]

Shape = tuple[int, ...]

_KEPT = 4096  # descriptors: equal ones are one object, which has its properties looked up once

NUMPY_TYPES: dict[DataType, Any] = {
    DataType.f32: np.float32,
    DataType.bf16: np.uint16,
    DataType.f16: np.float16,
    DataType.s32: np.int32,
    DataType.s8: np.int8,
    DataType.u8: np.uint8,
}


class Owner:
    """The only owner of an object of the library, `handle`, which `_destroy` ends together with this object.

    Not by weakref.finalize: thousands of those take longer than making the objects. When the process ends nothing is
    done, since the library may be gone by then.
    """

    _destroy: Callable[[Any], Any] | None = None

    def __init__(self, handle: c_void_p, destroy: Callable[[Any], Any] | None) -> None:
        self._as_parameter_ = handle.value  # a number, for the search for cycles has no need to look at it
        self._destroy = destroy

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if self._destroy is not None and not finalizing():
            self._destroy(self._as_parameter_)


class Device:
    """The CPU engine with one in-order stream: a primitive has finished when its call returns.

    compiled: what `Primitive` has had the library make, as long as something uses it.
    """

    def __init__(self) -> None:
        self.compiled: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
        lib = library()
        engine, self.stream = c_void_p(), c_void_p()
        check(lib.engine_create(byref(engine), 1, 0), "engine_create")
        self.engine = Owner(engine, lib.engine_destroy)
        check(lib.stream_create(byref(self.stream), self.engine, 1), "stream_create")
        weakref.finalize(self, lib.stream_destroy, self.stream).atexit = False

    @property
    def native_bf16(self) -> bool:
        """Whether the CPU multiplies bf16 itself (AVX-512 BF16 or newer) instead of emulating it slowly."""
        return self._has(0xE7)  # dnnl_cpu_isa_avx512_core_bf16

    @property
    def has_vnni(self) -> bool:
        """Whether the CPU adds up products of int8 in 32 bits. Others add pairs of them in 16 bits, which saturate."""
        return self._has(0x67) or self._has(0x0F)  # dnnl_cpu_isa_avx512_core_vnni, dnnl_cpu_isa_avx2_vnni

    @property
    def has_avx512(self) -> bool:
        """Whether vectors have 16 numbers of float32."""
        return self._has(0x27)  # dnnl_cpu_isa_avx512_core

    @property
    def block(self) -> int:
        """Channels of a block in the layouts in which the library is fast: a vector of float32."""
        return 16 if self.has_avx512 else 8

    @property
    def has_amx(self) -> bool:
        """Whether the CPU multiplies whole tiles of bf16 and int8 (Sapphire Rapids or newer)."""
        return self._has(0xFEF)  # dnnl_cpu_isa_avx512_core_amx

    def _has(self, features: int) -> bool:
        return int(library().get_effective_cpu_isa()) & features == features


class MemoryDesc(Owner):
    """Shape, element type and layout of a tensor; immutable.

    ``any`` leaves the layout to the primitive; ``plain`` is row-major or the strides given (in elements).
    """

    def __init__(self, handle: c_void_p, whole: Owner | None = None) -> None:
        """whole: the object of the library that this is a part of, and ends with."""
        super().__init__(handle, library().memory_desc_destroy if whole is None else None)
        self._whole = whole

    @cached_property
    def dims(self) -> Shape:
        """The shape."""
        return self._list(Query.dims, self._int(Query.ndims_s32))

    @cached_property
    def dtype(self) -> DataType:
        """The type of the elements."""
        return DataType(self._int(Query.data_type))

    @cached_property
    def size(self) -> int:
        """In bytes."""
        return int(library().memory_desc_get_size(self)) if self.dims else 0

    @property
    def span(self) -> int:
        """The bytes up to the last element; less than `size` where elements lie apart."""
        if not self.is_plain or 0 in self.dims:
            return self.size
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.dims, self.strides, strict=True))
        return (last + 1) * int(np.dtype(NUMPY_TYPES[self.dtype]).itemsize)

    @staticmethod
    def plain(shape: Shape, dtype: DataType = DataType.f32, strides: Shape | None = None) -> MemoryDesc:
        """A descriptor with strides in elements, row-major by default."""
        return _with_strides(shape, dtype, strides)

    @staticmethod
    def tagged(shape: Shape, dtype: DataType, tag: Tag) -> MemoryDesc:
        """A descriptor with one of the named layouts."""
        return _with_tag(shape, dtype, tag)

    @staticmethod
    def any(shape: Shape, dtype: DataType = DataType.f32) -> MemoryDesc:
        """A descriptor that leaves the layout to the primitive."""
        return MemoryDesc.tagged(shape, dtype, Tag.any)

    @staticmethod
    def channels_last(shape: Shape, dtype: DataType = DataType.f32) -> MemoryDesc:
        """(N, C, spatial...) with the channel as the fastest index."""
        return MemoryDesc.axis_last(shape, 1, dtype)

    @staticmethod
    def axis_last(shape: Shape, axis: int, dtype: DataType = DataType.f32) -> MemoryDesc:
        """Row-major, but with `axis` as the fastest index."""
        strides, step = [1] * len(shape), shape[axis]
        for i in reversed(range(len(shape))):
            if i != axis:
                strides[i] = step
                step *= shape[i]
        return MemoryDesc.plain(shape, dtype, tuple(strides))

    @staticmethod
    def part_of(whole: Owner, handle: int | None) -> MemoryDesc | None:
        """A descriptor that an object of the library contains; None if it is null or describes nothing."""
        desc = MemoryDesc(c_void_p(handle), whole) if handle else None
        return desc if desc is not None and desc.dims else None

    def submemory(self, shape: Shape, offsets: Shape) -> MemoryDesc:
        """A block of this tensor seen in place (EngineError where the layout cannot express it)."""
        handle = c_void_p()
        status = library().memory_desc_create_submemory(byref(handle), self, dims(shape), dims(offsets))
        if status:  # the message has the layout, which takes longer than the call
            check(status, f"part {shape} at {offsets} of {self}")
        return MemoryDesc(handle)

    def reshape(self, shape: Shape) -> MemoryDesc:
        """The same bytes under another shape (EngineError where the layout does not allow it)."""
        handle = c_void_p()
        status = library().memory_desc_reshape(byref(handle), self, len(shape), dims(shape))
        if status:
            check(status, f"reshape of {self} to {shape}")
        return MemoryDesc(handle)

    def permuted(self, order: Shape) -> MemoryDesc:
        """The same bytes with the axes in another order, as NumPy's transpose: axis i is axis order[i] of this one."""
        to = (c_int * len(order))(*(order.index(axis) for axis in range(len(order))))
        handle = c_void_p()
        check(library().memory_desc_permute_axes(byref(handle), self, to), f"axes {order} of a descriptor")
        return MemoryDesc(handle)

    @property
    def is_any(self) -> bool:
        """Whether the layout is left to the primitive."""
        return self._int(Query.format_kind) == FormatKind.any

    @cached_property
    def is_plain(self) -> bool:
        """Whether strides alone say where an element lies."""
        return self._int(Query.format_kind) == FormatKind.blocked and self._int(Query.inner_nblks_s32) == 0

    @property
    def is_row_major(self) -> bool:
        """Whether the bytes are those of a C-contiguous array."""
        return self.is_plain and self == MemoryDesc.plain(self.dims, self.dtype)

    @property
    def is_channels_last(self) -> bool:
        """Whether the bytes are those of (N, C, spatial...) with the channel as the fastest index."""
        return len(self.dims) > 2 and self == MemoryDesc.channels_last(self.dims, self.dtype)

    @cached_property
    def strides(self) -> Shape:
        """Strides in elements, of the outer blocks where the layout is blocked."""
        return self._list(Query.strides, len(self.dims))

    @cached_property
    def offset(self) -> int:
        """The number of elements before the first one, for a part of a larger tensor."""
        value = c_int64()
        check(library().memory_desc_query(self, Query.submemory_offset_s64, byref(value)), "query")
        return value.value

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, MemoryDesc) and bool(library().memory_desc_equal(self, other)))

    def __hash__(self) -> int:
        return hash((self.dims, self.dtype))

    def __repr__(self) -> str:
        """As oneDNN writes layouts: axes by stride, upper case where blocked, then the blocks: aBcd16b."""
        shape = "x".join(map(str, self.dims))
        if self.is_any:
            return f"{shape} {self.dtype.name} any"
        if self._int(Query.format_kind) != FormatKind.blocked:
            return f"{shape} {self.dtype.name} opaque"
        count = self._int(Query.inner_nblks_s32)
        sizes, axes = self._list(Query.inner_blks, count), self._list(Query.inner_idxs, count)
        order = sorted(range(len(self.dims)), key=lambda i: (-self.strides[i], i))
        outer = "".join(chr((65 if i in axes else 97) + i) for i in order)
        inner = "".join(f"{size}{chr(97 + axis)}" for size, axis in zip(sizes, axes, strict=True))
        return f"{shape} {self.dtype.name} {outer}{inner}"

    def _int(self, what: Query) -> int:
        value = c_int()
        status = library().memory_desc_query(self, what, byref(value))
        if status:
            check(status, f"query {what.name}")
        return value.value

    def _list(self, what: Query, count: int) -> Shape:
        if count == 0:
            return ()
        pointer = ctypes.POINTER(c_int64)()
        status = library().memory_desc_query(self, what, byref(pointer))
        if status:
            check(status, f"query {what.name}")
        return tuple(pointer[:count])


@lru_cache(_KEPT)
def _with_strides(shape: Shape, dtype: DataType, strides: Shape | None) -> MemoryDesc:
    if strides is None:
        strides = tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
    handle = c_void_p()
    create = library().memory_desc_create_with_strides
    status = create(byref(handle), len(shape), dims(shape), dtype, dims(strides))
    if status:
        check(status, f"memory descriptor {shape} with strides {strides}")
    return MemoryDesc(handle)


@lru_cache(_KEPT)
def _with_tag(shape: Shape, dtype: DataType, tag: Tag) -> MemoryDesc:
    handle = c_void_p()
    create = library().memory_desc_create_with_tag
    status = create(byref(handle), len(shape), dims(shape), dtype, tag)
    if status:
        check(status, f"memory descriptor {shape} {tag.name}")
    return MemoryDesc(handle)


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
