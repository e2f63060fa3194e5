"""Descriptors of tensors: shape, element type and layout."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int, c_int64, c_void_p
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np

from dragon.engines.onednn.library.binding import check, dims, library
from dragon.engines.onednn.library.constants import DataType, FormatKind, Query, Tag
from dragon.engines.onednn.library.device import Owner

__all__ = ["NUMPY_TYPES", "MemoryDesc", "Shape"]

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
