"""Memory of the stand-in: pools, which capture may allocate, pinned memory, and copies between host and device."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from tests.engines.cuda.emulation.streams import (
    THREAD_LOCAL,
    UNSUPPORTED,
    CopyNode,
    CUDARuntimeError,
    Stream,
    counts,
    refuse_transfer,
)  # fmt: skip

exposed: dict[int, tuple[int, weakref.ref[Any]]] = {}  # end and owner of arrays whose address somebody asked for
_pinned: list[tuple[int, int, weakref.ref[Any]]] = []
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyKind


class OutOfMemoryError(MemoryError):
    pass


class Memory:
    """How much one may allocate at a time, for tests of running out of it. recycled: blocks to hand out again."""

    limit = 1 << 34
    recycled: ClassVar[list[np.ndarray[Any, Any]]] = []


# -- pools ---------------------------------------------------------------------------------------------------------
class MemoryPool:
    """Counts bytes as CuPy's pool does. It splits no blocks: a freed one serves only a request of its size."""

    alive: ClassVar[weakref.WeakSet[MemoryPool]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.free: collections.Counter[int] = collections.Counter()  # number of free blocks by size
        self.used = 0
        self.alive.add(self)

    def malloc(self, size: int) -> Any:
        raise AssertionError("the stand-in allocates by `allocate`")

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.used + sum(size * number for size, number in self.free.items())

    def free_all_blocks(self) -> None:
        counts["pools emptied"] += 1
        self.free.clear()

    def take(self, size: int) -> None:
        """Use a free block, or one that the device gives."""
        if self.free[size]:
            self.free[size] -= 1
        else:
            counts["device allocations"] += 1
            stream = Stream.current
            if stream.recording is not None and stream.mode == THREAD_LOCAL:
                stream.invalidate()
                raise CUDARuntimeError(UNSUPPORTED)
        self.used += size

    def give_back(self, size: int) -> None:
        self.used -= size
        self.free[size] += 1


_default = MemoryPool()
_allocator: list[MemoryPool] = []


def default_pool() -> MemoryPool:
    return _default


@contextlib.contextmanager
def using_allocator(allocator: Any = None) -> Iterator[None]:
    _allocator.append(_default if allocator is None else allocator.__self__)
    try:
        yield
    finally:
        _allocator.pop()


def new_block(shape: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """Memory for an array: whatever it holds."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if size > Memory.limit:
        raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: {_default.used:,} bytes).")
    for block in Memory.recycled:
        if block.nbytes == size:
            return block.reshape(-1).view(dtype).reshape(shape)  # type: ignore[no-any-return]
    rounded = -(-size // 512) * 512
    pool = _allocator[-1] if _allocator else _default
    pool.take(rounded)
    block = np.empty(shape, dtype)
    _when_dropped(block, _give_back(weakref.ref(pool), rounded))
    return block


def _give_back(pool: weakref.ref[MemoryPool], size: int) -> Callable[[], None]:
    def call() -> None:
        found = pool()
        if found is not None:
            found.give_back(size)

    return call


_callbacks: dict[int, weakref.ref[Any]] = {}


def _when_dropped(value: Any, action: Callable[[], None]) -> None:
    key = id(value)

    def call(_: Any) -> None:
        del _callbacks[key]
        action()

    _callbacks[key] = weakref.ref(value, call)


def owner_at(start: int, stop: int) -> weakref.ref[Any] | None:
    """The owner of the array inside which addresses lie, if it is there and somebody asked for its address."""
    if start in exposed:
        end, ref = exposed[start]
        if stop <= end and ref() is not None:
            return ref
    for low, (high, ref) in exposed.items():
        if low <= start and stop <= high and ref() is not None:
            return ref
    return None


# -- pinned memory, and copies -----------------------------------------------------------------------------------------
def alloc_pinned_memory(size: int) -> Any:
    """A buffer with the attribute `ptr`, its address."""
    memory = type("PinnedMemory", (ctypes.c_ubyte * size,), {"ptr": property(ctypes.addressof)})()
    _pinned[:] = [entry for entry in _pinned if entry[2]() is not None]
    _pinned.append((memory.ptr, memory.ptr + size, weakref.ref(memory)))
    return memory


def pinned_at(address: int) -> list[tuple[int, int]]:
    """First and last address of the pinned memory that an address lies in, if it does."""
    return [(low, high) for low, high, ref in _pinned if low <= address < high and ref() is not None]


def is_pinned(start: int, size: int) -> bool:
    return any(start + size <= high for _, high in pinned_at(start))


def copy(way: str, target: int, source: int, host: int, size: int, stream: Stream) -> None:
    """Queue a copy between the device and pinned memory at `host`. It is an error to free that before the copy ran."""
    if not is_pinned(host, size):
        raise AssertionError("an asynchronous copy to or from memory that is not pinned")
    counts[way] += 1

    def action() -> None:
        if not is_pinned(host, size):
            raise AssertionError("pinned memory was freed before an asynchronous copy had ended")
        ctypes.memmove(target, source, size)

    stream.add(CopyNode(action))


def memcpy_async(target: int, source: int, size: int, kind: int, stream: int) -> None:
    """cudaMemcpyAsync, which a capture records."""
    if kind == TO_DEVICE:
        copy("to device", target, source, source, size, Stream.at(stream))
    else:
        assert kind == TO_HOST
        copy("to host, asynchronous", target, source, target, size, Stream.at(stream))


class Pointer:
    """The attribute `data` of an array."""

    def __init__(self, array: Any) -> None:
        self._array = array

    @property
    def ptr(self) -> int:
        a = self._array.a
        base = a
        while isinstance(base.base, np.ndarray):
            base = base.base
        start = base.ctypes.data
        if start not in exposed or exposed[start][1]() is not base:
            for other in [at for at, (_, ref) in exposed.items() if ref() is None]:
                del exposed[other]
            exposed[start] = start + base.nbytes, weakref.ref(base)
        return int(a.ctypes.data)

    def copy_from_host_async(self, host: Any, size: int, stream: Stream | None = None) -> None:
        refuse_transfer("H2D")
        at = host.value if hasattr(host, "value") else host
        counts["from pinned memory"] += 1
        copy("to device", int(self._array.a.ctypes.data), at, at, size, stream or Stream.current)

    def copy_to_host_async(self, host: Any, size: int, stream: Stream | None = None) -> None:
        refuse_transfer("D2H")
        at = host.value if hasattr(host, "value") else host
        copy("to host, asynchronous", at, int(self._array.a.ctypes.data), at, size, stream or Stream.current)
