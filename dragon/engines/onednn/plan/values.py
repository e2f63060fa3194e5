"""Values of a plan: each is one version of a storage's content, in oneDNN memory or in host memory.

A storage that is overwritten in place has several versions in one run. Each version in oneDNN memory is a copy of
its storage at a place of its own, so that the storage knows at any time which version is its content.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from dragon.engines.int8.arithmetic import Range
from dragon.engines.onednn.kernels import combine
from dragon.engines.onednn.library.constants import MAX_NDIMS, Arg, DataType
from dragon.engines.onednn.library.descriptor import MemoryDesc, Shape
from dragon.engines.onednn.library.device import Device
from dragon.engines.onednn.library.memory import Memory
from dragon.engines.onednn.library.primitive import Call
from dragon.engines.onednn.plan.bound import Bound
from dragon.memory.storage import HOST, Array, Storage

__all__ = ["HostValue", "Layout", "LazyCopy", "MemoryCopy", "Value", "int8_type", "is_unchanged", "logical", "reorder"]

Layout = MemoryDesc | tuple[MemoryDesc, Range]  # with the range that float32 values were rounded for


def logical(shape: tuple[int, ...]) -> Shape:
    """The shape for oneDNN, which has no scalars; with more axes than it knows, the values in a row."""
    return (shape or (1,)) if len(shape) <= MAX_NDIMS else (math.prod(shape),)


def borrowed(device: Device, host: Array, shape: Shape) -> Memory:
    """A view of a host array for oneDNN, without a reference to it: references mean that a script holds it (`held`).

    The caller keeps the storage alive, and checks that its memory is still where it was.
    """
    raw = (ctypes.c_uint8 * (math.prod(shape) * host.itemsize)).from_address(host.ctypes.data)
    return Memory(device, MemoryDesc.plain(shape), np.frombuffer(memoryview(raw).cast("B"), np.uint8))


def reorder(device: Device, source: Memory, target: Memory, factor: float = 1.0) -> Call:
    """A prepared conversion between two memories of one shape. factor: what values are multiplied by."""
    memories = {Arg.SRC: source, Arg.DST: target}
    if factor != 1:
        memories[Arg.runtime_scale(Arg.SRC)] = Memory.wrap(device, np.full(1, factor, np.float32))
    return Call(combine.reorder(device, source.desc, target.desc, scaled=factor != 1), memories)


def int8_type(of: Range) -> DataType:
    """The type of the integers that a range is rounded to."""
    return DataType.s8 if of.signed else DataType.u8


class MemoryCopy:
    """The copy of a storage in one oneDNN memory; conversions are prepared at their first use.

    scale: what a 1 in the memory stands for.
    """

    def __init__(self, device: Device, memory: Memory, scale: float = 1.0) -> None:
        self.device = device
        self.memory = memory
        self.scale = scale
        self.count = math.prod(memory.desc.dims)
        self.restore: Callable[[], None] | None = None  # recomputes the content where another value has overwritten it
        # calls a function while the memory holds the content, where a later value of each pass overwrites it
        self.earlier: Callable[[Callable[[], None]], None] | None = None
        self._host_at = 0
        self._down: Call | None = None
        self._up: Call | None = None

    def _host(self, host: Array) -> Memory:
        if host.ctypes.data != self._host_at:
            self._host_at, self._down, self._up = host.ctypes.data, None, None
        return borrowed(self.device, host, self.memory.desc.dims)

    def to_host(self, host: Array) -> None:
        """Copy the content to the flat host array."""
        if self.earlier is not None:
            self.earlier(partial(self._to_host, host))
            return
        if self.restore is not None:
            self.restore()
        self._to_host(host)

    def _to_host(self, host: Array) -> None:
        if self._down is None or host.ctypes.data != self._host_at:
            self._down = reorder(self.device, self.memory, self._host(host), self.scale)
        self._down()

    def from_host(self, host: Array) -> None:
        """Copy the flat host array into the memory."""
        if self._up is None or host.ctypes.data != self._host_at:
            self._up = reorder(self.device, self._host(host), self.memory, 1 / self.scale)
        self._up()


class LazyCopy:
    """The content of a blob that a fused group skipped: it is computed when somebody reads it."""

    def __init__(self, compute: Callable[[Array], None], sources: Sequence[Memory] = ()) -> None:
        self._compute = compute
        self.sources = sources
        self.restores: list[Callable[[], None]] = []  # recompute sources that other values have overwritten

    def to_host(self, host: Array) -> None:
        """Compute the content into the flat host array."""
        for restore in self.restores:
            restore()
        self._compute(host)

    def from_host(self, host: Array) -> None:
        """Do nothing: only the host reads this copy."""


def is_unchanged(storage: Storage, place: str) -> bool:
    """Whether the copy at `place` still is the storage's content, even if the host copy was handed out since."""
    if storage.is_fresh(place) and not storage.held:
        return True
    copy, now = storage.copy_at(place), storage.read()
    if copy is None:
        return False
    made = now.copy()
    copy.to_host(made)
    if not np.array_equal(made, now, equal_nan=True):
        return False
    storage.sync(place)
    return True


class Value:
    """A version of a storage in oneDNN memory. range: of the values that the memory has as integers of 8 bits."""

    bound: Bound | None = None  # tells that all elements are finite
    overwritten_by: Call | None = None  # the step that puts a later value into the memory

    def __init__(self, device: Device, storage: Storage, memory: Memory, place: str, of: Range | None = None) -> None:
        self.device = device
        self.storage = storage
        self.memory = memory
        self.place = place
        self.range = of
        self.copy = MemoryCopy(device, memory, 1.0 if of is None else of.scale)
        self.derived: dict[Layout, Memory] = {}
        self.refresh: list[Call] = []  # the conversions that made `derived`
        storage.attach(place, self.copy)

    @property
    def shape(self) -> Shape:
        """The shape in oneDNN's memory."""
        return self.memory.desc.dims

    def mark_newest(self) -> None:
        """Mark this version as the storage's content."""
        self.storage.wrote(self.place)

    def fetch(self) -> None:
        """Make the memory hold the storage's newest content."""
        storage = self.storage
        if storage.held:
            storage.write()
        if not storage.is_fresh(self.place):
            storage.sync(self.place)
            for call in self.refresh:
                call()

    @property
    def valid(self) -> bool:
        """Whether the storage still has this copy."""
        return self.storage.copy_at(self.place) is self.copy


class HostValue:
    """A version of a storage in plain host memory, seen by oneDNN without a copy."""

    bound: Bound | None = None
    made = False  # whether reference code writes it within the plan

    def __init__(self, device: Device, storage: Storage, shape: Shape) -> None:
        self.device = device
        self.storage = storage
        host = storage.read()
        self._address = storage.address
        self.memory = borrowed(device, host, shape)
        self.derived: dict[Layout, Memory] = {}
        self.refresh: list[Call] = []
        self._epoch = storage.epoch

    @property
    def shape(self) -> Shape:
        """The shape in oneDNN's memory."""
        return self.memory.desc.dims

    def mark_newest(self) -> None:
        """Mark the host copy, which a step has just written, as the storage's content."""
        self.storage.wrote(HOST)
        self._epoch = self.storage.epoch

    def fetch(self) -> None:
        """Bring the host copy up to date, and the memories derived from it."""
        storage = self.storage
        storage.read()
        if self.refresh and (storage.epoch != self._epoch or storage.held):
            for call in self.refresh:
                call()
        self._epoch = storage.epoch

    @property
    def current(self) -> bool:
        """Whether nobody can have written the host copy since it was marked or fetched."""
        return self.storage.epoch == self._epoch and not self.storage.held

    @property
    def valid(self) -> bool:
        """Whether the storage's host memory is still at its address."""
        return self.storage.address == self._address
