"""Blob: an array of values with its gradient, which layers hand to one another or learn."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dragon.counting import how_many
from dragon.errors import ArgumentTypeError, ShapeError
from dragon.memory.shortage import LESS
from dragon.memory.storage import Array, ArraySpace, Storage

__all__ = ["MAX_AXES", "MAX_COUNT", "Blob", "BlobList", "checked_count"]


def _max_elements() -> int:
    """How many elements of 4 bytes the machine's memory holds, at most 2^40; 2^40 where its size is not known."""
    if not hasattr(os, "sysconf"):
        return 2**40
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 2**40
    return min(2**40, pages * size // 4) if pages > 0 < size else 2**40


MAX_COUNT = _max_elements()  # a shape beyond this is a damaged file or a typing error, not a net

MAX_AXES = 32  # as in BVLC Caffe

_OUTSIDE = ArraySpace()  # of blobs that belong to no net


def checked_count(shape: Sequence[int], what: str = "blob") -> int:
    """Number of elements of `shape`; ShapeError for negative axes, more than MAX_COUNT elements or MAX_AXES axes."""
    if len(shape) > MAX_AXES:
        raise ShapeError(f"{what}: a shape of {how_many(len(shape), 'axis')}, at most {MAX_AXES} are possible")
    extent = 1  # axes of 0 are left out: array libraries refuse the others even if there is no element
    for dim in shape:
        if dim < 0:
            raise ShapeError(f"{what}: negative axis in shape {tuple(shape)}")
        extent *= max(1, int(dim))
    if extent > MAX_COUNT:
        wanted, there = (f"{count * 4 / 2**30:,.4g} GiB" for count in (extent, MAX_COUNT))
        raised = ShapeError(f"{what}: shape {tuple(shape)} takes {wanted}, this machine has {there}")
        raised.hint = LESS if what == "blob" else ""
        raise raised
    return extent if all(shape) else 0


def _extents(shape: Sequence[Any]) -> tuple[int, ...]:
    """The axes of a shape that is given as one sequence, or as one argument for each axis.

    Raises ArgumentTypeError for an axis that is no whole number.
    """
    given = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence | np.ndarray) else shape
    try:
        found = tuple(map(int, given))
    except (TypeError, ValueError, OverflowError):
        found = ()
    if found != tuple(given):
        raise ArgumentTypeError(f"the axes of a blob are whole numbers, got {', '.join(map(repr, given))}")
    return found


class Blob:
    """An array of values, `data`, and one of gradients, `diff`, of the same shape and dtype; both begin as zeros.

    shape: extents of the axes, such as (N, C, H, W). space: decides which arrays are handed out; None: host arrays.

    Reading `data` or `diff` counts as writing it, since the array is mutable: copies in engines become stale. `peek`
    and `peek_diff` return read-only arrays and leave the copies valid. Raises ShapeError for an impossible shape.
    """

    __slots__ = ("_data", "_diff", "_loose", "_shape", "_space")

    def __init__(
        self, shape: Sequence[int] = (), dtype: DTypeLike = np.float32, space: ArraySpace | None = None
    ) -> None:
        self._shape = tuple(int(d) for d in shape)
        count = checked_count(self._shape)
        self._data = Storage(count, dtype)
        self._diff = Storage(count, dtype)
        self._space = space or _OUTSIDE
        self._loose = False

    # -- arrays ---------------------------------------------------------------------------------------------
    @property
    def data(self) -> Array:
        """The values, a mutable array of the blob's shape; counts as a write."""
        if self._space.view is not None:
            array: Array = self._space.view(self._data, self._shape)
            return array
        return self._shaped(self._data.write())

    @property
    def diff(self) -> Array:
        """The gradients, a mutable array of the blob's shape; counts as a write."""
        if self._space.view is not None:
            array: Array = self._space.view(self._diff, self._shape)
            return array
        return self._shaped(self._diff.write())

    def peek(self) -> Array:
        """The newest values, a read-only host array of the blob's shape."""
        return self._peek(self._data)

    def peek_diff(self) -> Array:
        """The newest gradients, a read-only host array of the blob's shape."""
        return self._peek(self._diff)

    def _peek(self, storage: Storage) -> Array:
        view = self._shaped(storage.read())
        view.flags.writeable = False
        return view

    def _shaped(self, flat: Array) -> Array:
        count = self.count
        return (flat if flat.size == count else flat[:count]).reshape(self._shape)

    @property
    def data_storage(self) -> Storage:
        """The flat memory of `data`: at least `count` elements, perhaps shared with other blobs."""
        return self._data

    @property
    def diff_storage(self) -> Storage:
        """The flat memory of `diff`: at least `count` elements, perhaps shared with other blobs."""
        return self._diff

    # -- shape ----------------------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the axes, such as (N, C, H, W)."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the elements of data and diff."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._shape)

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self._shape)

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Give the blob another shape. Memory grows when it must and is never given back.

        Raises ShapeError for an impossible shape.
        """
        wanted = _extents(shape)
        if wanted == self._shape:
            return
        count = checked_count(wanted)
        self._shape = wanted
        self._space.version += not self._loose
        self._data.resize(count)
        self._diff.resize(count)

    @property
    def is_loose(self) -> bool:
        """Whether engines need no plan of its shape: see `loosen`."""
        return self._loose

    def loosen(self) -> None:
        """Let the shape change from run to run without a new plan: only layers that run on the host use the blob."""
        self._loose = True

    def _legacy_extent(self, axis: int) -> int:
        if self.ndim > 4:
            raise ShapeError(f"num, channels, height and width need at most 4 axes, the shape is {self._shape}")
        return self._shape[axis] if axis < self.ndim else 1

    @property
    def num(self) -> int:
        """Extent of axis 0, 1 if there is none. ShapeError for a blob of more than 4 axes."""
        return self._legacy_extent(0)

    @property
    def channels(self) -> int:
        """Extent of axis 1, 1 if there is none. ShapeError for a blob of more than 4 axes."""
        return self._legacy_extent(1)

    @property
    def height(self) -> int:
        """Extent of axis 2, 1 if there is none. ShapeError for a blob of more than 4 axes."""
        return self._legacy_extent(2)

    @property
    def width(self) -> int:
        """Extent of axis 3, 1 if there is none. ShapeError for a blob of more than 4 axes."""
        return self._legacy_extent(3)

    # -- sharing --------------------------------------------------------------------------------------------
    def share_data(self, other: Blob) -> None:
        """Use the other blob's memory for data. Shapes may differ; ShapeError unless counts and types agree."""
        self._check_same_count(other)
        if self._data is not other._data:
            self._check_same_type(other)
            self._data = other._data
            self._space.exchanged()

    def share_diff(self, other: Blob) -> None:
        """Use the other blob's memory for diff. Shapes may differ; ShapeError unless counts and types agree."""
        self._check_same_count(other)
        if self._diff is not other._diff:
            self._check_same_type(other)
            self._diff = other._diff
            self._space.exchanged()

    def _check_same_count(self, other: Blob) -> None:
        if self.count != other.count:
            raise ShapeError(f"cannot share between blobs of shape {self._shape} and {other._shape}")

    def _check_same_type(self, other: Blob) -> None:
        if self.dtype != other.dtype:  # an engine's kernels would read the one as the other
            raise ShapeError(f"cannot share between blobs of {self.dtype} and {other.dtype}")

    def __reduce__(self) -> tuple[Callable[..., Blob], tuple[tuple[int, ...], Storage, Storage]]:
        """For copies and pickles: the values, without the net and the engine; what shares memory goes on to."""
        return _restored, (self._shape, self._data, self._diff)

    def __dir__(self) -> list[str]:
        return sorted(set(super().__dir__()) - {"data_storage", "diff_storage"})

    def _repr_html_(self) -> str:
        from dragon.notebook import blob_html

        return blob_html(self)

    def __repr__(self) -> str:
        return f"Blob(shape={self._shape}, dtype={self.dtype})"


def _restored(shape: tuple[int, ...], data: Storage, diff: Storage) -> Blob:
    blob = Blob(())
    blob._shape, blob._data, blob._diff = shape, data, diff
    return blob


class BlobList(list[Blob]):
    """A layer's blobs; `add_blob(*shape)` appends one, as layers written in Python expect."""

    def __init__(self, dtype: DTypeLike = np.float32, space: ArraySpace | None = None) -> None:
        super().__init__()
        self._dtype = dtype
        self._space = space

    def add_blob(self, *shape: int | Sequence[int]) -> Blob:
        """Append a new blob of zeros and return it; the shape as one sequence or as one argument for each axis."""
        blob = Blob(_extents(shape), self._dtype, self._space)
        self.append(blob)
        return blob
