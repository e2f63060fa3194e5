"""Storage: one logical array with copies in several places.

A Storage is flat. Its plain copy is host memory; an engine may attach further copies (oneDNN memory in a blocked
layout, a CuPy array). The storage records which copies are newest and converts on demand, so that a reader of the
host copy never sees an old value, and a copy is made anew only when the value has changed.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dragon.memory.aligned import address_of, aligned_bytes

__all__ = [
    "HOST",
    "Array",
    "ArraySpace",
    "Copy",
    "Storage",
    "Watcher",
    "held_among",
    "mark_written",
    "notify_watchers_of",
    "stale_among",
]

Array = NDArray[Any]
HOST = "host"
_FILLING = threading.RLock()  # held while a storage gets its first value: two nets in two threads may share it


def _fill_in_child() -> None:
    global _FILLING
    _FILLING = threading.RLock()  # the thread that held it is not in this forked process


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fill_in_child)


class Copy(Protocol):
    """A copy of a storage outside plain host memory, owned by an engine."""

    def to_host(self, host: Array) -> None:
        """Write the value into the flat host array."""

    def from_host(self, host: Array) -> None:
        """Read the value from the flat host array."""


class Watcher(Protocol):
    """An object that may need a storage's old value."""

    def about_to_change(self, storage: Storage) -> None:
        """Called before the host copy is handed out to be written, once for each `Storage.watch`."""


class ArraySpace:
    """Which arrays the blobs of one net hand out: host arrays, or those of an engine. All its blobs share one.

    view: None for host arrays; else a function of a Storage and a shape that returns the engine's array. An engine
    sets it for the duration of a run, so that layers written for NumPy compute on the engine's arrays.
    version: increases with each change that invalidates a prepared plan (a shape, an exchanged Storage, a phase).
    exchanges: how many of these changes were no changes of a shape.
    """

    __slots__ = ("exchanges", "version", "view")

    def __init__(self) -> None:
        self.view: Any = None
        self.version = self.exchanges = 0

    def exchanged(self) -> None:
        """Note that something other than a shape has changed which a prepared plan depends on."""
        self.version += 1
        self.exchanges += 1


class Storage:
    """A flat array of `count` elements of `dtype`; memory is allocated, as zeros, at the first use."""

    __slots__ = (
        "__weakref__", "_copies", "_filled_by", "_followers", "_fresh", "_grown", "_host", "_watchers", "count",
        "dtype", "epoch",
    )  # fmt: skip

    def __init__(self, count: int = 0, dtype: DTypeLike = np.float32) -> None:
        self.count = count
        self.dtype = np.dtype(dtype)
        self._host: Array | None = None
        self._filled_by: tuple[Array, Callable[[Array], None]] | None = None  # the host copy while `_host` is None
        self._copies: dict[str, Copy] = {}
        self._fresh: set[str] = {HOST}
        self._watchers: list[weakref.ref[Any]] | None = None
        self._followers: tuple[set[Storage], ...] = ()
        self._grown = 0  # the epoch in which the memory last grew
        self.epoch = 0  # counts how often the host copy was handed out to be written

    def _ensure_host(self) -> Array:
        return self._first_host() if self._host is None else self._host

    def _first_host(self) -> Array:
        with _FILLING:
            if self._filled_by is not None:
                host, fill = self._filled_by
                fill(host)
                self._host, self._filled_by = host, None
            elif self._host is None:  # another thread may have been first
                self._host = _aligned_zeros(self.count, self.dtype)
        return self._host

    def fill_later(self, fill: Callable[[Array], None]) -> None:
        """Let `fill` write the value into the flat host copy when somebody first asks for it: a new storage's value.

        A caller that overwrites all of it before that saves the work. Counts as a write now. The memory is asked for
        now as well, so that a MemoryError comes here.
        """
        self._filled_by = _aligned_zeros(self.count, self.dtype), fill
        self.epoch += 1

    def read(self) -> Array:
        """The host copy with the newest value, for reading only."""
        if self._followers:
            self._report()
        host = self._ensure_host()
        if HOST not in self._fresh:
            self._copies[next(iter(self._fresh))].to_host(host)
            self._fresh.add(HOST)
        return host

    def write(self) -> Array:
        """The host copy with the newest value, which from now on is the only newest one."""
        if self._watchers is not None:
            self.notify_watchers()
        host = self.read()
        if len(self._fresh) > 1:
            self._fresh = {HOST}
        self.epoch += 1
        return host

    def overwrite(self) -> Array:
        """The host copy for a caller that replaces all of it: the old value is not fetched."""
        if self._followers:
            self._report()
        if self._watchers is not None:
            self.notify_watchers()
        self._fresh = {HOST}
        self.epoch += 1
        if self._host is None:
            with _FILLING:
                if self._filled_by is not None:
                    self._host, self._filled_by = self._filled_by[0], None
        return self._ensure_host()

    def attach(self, place: str, copy: Copy) -> None:
        """Let `copy` hold this storage's value at `place`; it starts out stale. An older copy there is dropped."""
        if place in self._copies:
            self.detach(place)
        self._copies[place] = copy
        if self._followers:
            self._report()

    def detach(self, place: str) -> None:
        """Forget the copy at `place`, after saving its value if it is the only newest one."""
        if place in self._copies:
            if self._fresh == {place}:
                self.read()
            self._fresh.discard(place)
            del self._copies[place]
            if self._followers:
                self._report()

    def copy_at(self, place: str) -> Copy | None:
        """The copy at `place`, up to date or not; None if there is none."""
        return self._copies.get(place)

    def newest_copy(self) -> Copy | None:
        """A copy that holds the newest value, or None if only the host does."""
        return next((self._copies[place] for place in self._fresh if place != HOST), None)

    def is_fresh(self, place: str) -> bool:
        """Whether the copy at `place` holds the newest value."""
        return place in self._fresh

    def sync(self, place: str) -> Copy:
        """The copy at `place`, brought up to date."""
        copy = self._copies[place]
        if place not in self._fresh:
            copy.from_host(self.read())
            self.mark_fresh(place)
        return copy

    def wrote(self, place: str) -> None:
        """Note that the copy at `place` has just been computed: it alone holds the newest value."""
        if self._followers and self._fresh != {place}:
            self._report()
        self._fresh = {place}

    def wrote_at(self, place: str, *others: str) -> None:
        """Note that the copies at these places have just been computed: they alone hold the newest value."""
        if self._fresh != {place, *others}:
            self.wrote(place)
            for other in others:
                self.mark_fresh(other)

    def mark_fresh(self, place: str) -> None:
        """Note that the copy at `place` has just been made from an up-to-date one: it is up to date too."""
        if self._followers and place not in self._fresh:
            self._report()
        self._fresh.add(place)

    def watch(self, watcher: weakref.ref[Any]) -> None:
        """Notify the Watcher before the value changes the next time. A write through a held view goes unnoticed."""
        if self._watchers is None:
            self._watchers = [watcher]
        elif watcher not in self._watchers:
            self._watchers.append(watcher)
        else:
            return
        if self._followers:
            self._report()

    def notify_watchers(self, but: weakref.ref[Any] | None = None) -> None:
        """Tell the watchers that the value is about to change; for code that does not change it through this class.

        but: a watcher that need not hear of it, and goes on watching.
        """
        watchers, self._watchers = self._watchers or [], None
        if but is not None and but in watchers:
            self._watchers = [but]
            watchers = [reference for reference in watchers if reference != but]
        if watchers and self._followers:
            self._report()
        for reference in watchers:
            watcher: Watcher | None = reference()
            if watcher is not None:
                watcher.about_to_change(self)

    def follow(self, changes: set[Storage]) -> None:
        """From now on, add this storage to `changes` whenever it may have become stale, held or watched somewhere.

        So an engine that has brought its storages up to date need only look at those in `changes`. It belongs to the
        engine, which empties it.
        """
        for known in self._followers:
            if known is changes:
                return
        self._followers += (changes,)

    def unfollow(self, changes: set[Storage]) -> None:
        """Undo `follow`."""
        self._followers = tuple(known for known in self._followers if known is not changes)

    def _report(self) -> None:
        for changes in self._followers:
            changes.add(self)

    @property
    def is_new(self) -> bool:
        """Whether the host copy has not been handed out to be written since the memory last grew."""
        return self._grown == self.epoch

    @property
    def allocated(self) -> bool:
        """Whether the host copy has memory."""
        return self._host is not None or self._filled_by is not None

    @property
    def address(self) -> int:
        """Memory address of the host copy; 0 while it has no memory."""
        return 0 if self._host is None else address_of(self._host)

    @property
    def held(self) -> bool:
        """Whether somebody keeps a view of the host copy and may write or read it without asking.

        Each view has the owner of the memory as its `base`, so the answer is how many references that owner has. This
        assumes CPython with its global lock, where the count is exact at any time. Where it cannot be relied on
        (another interpreter, a free-threaded build, on neither of which it has been tested), every storage with host
        memory counts as held: engines then copy more than they need to, and results stay right.
        Not noticed anywhere: a bare address, and the array itself that `read` or `write` returns; make a view of it.
        """
        if self._host is None:
            return False
        return _BASE_REFERENCES is None or sys.getrefcount(self._host.base) > _BASE_REFERENCES

    def resize(self, count: int) -> None:
        """Grow to at least `count` elements; the old ones stay in front, as Caffe's users rely on. Never shrinks."""
        if count <= self.count:
            return
        self.notify_watchers()
        if self._followers:
            self._report()
        old = self.read() if self.allocated or self._copies else None
        self._copies.clear()
        self._fresh = {HOST}
        self._host = None
        self.count = count
        self._grown = self.epoch
        if old is not None:
            self._ensure_host()[: old.size] = old

    def __reduce__(self) -> tuple[Callable[..., Storage], tuple[int, np.dtype[Any], Array | None]]:
        """For copies and pickles: the newest value, without an engine's copies of it."""
        values = self.read().copy() if self.allocated or self._copies else None
        return _restored, (self.count, self.dtype, values)


def _restored(count: int, dtype: np.dtype[Any], values: Array | None) -> Storage:
    storage = Storage(count, dtype)
    if values is not None:
        storage.overwrite()[...] = values
    return storage


# -- many storages at once, in an engine's hot path --------------------------------------------------------------------
def held_among(storages: Iterable[Storage]) -> list[Storage]:
    """The storages that are `held`."""
    return [storage for storage in storages if storage._host is not None and storage.held]


def stale_among(storages: Iterable[Storage], place: str) -> list[Storage]:
    """The storages whose copy at `place` does not hold the newest value."""
    return [storage for storage in storages if place not in storage._fresh]


def notify_watchers_of(storages: Iterable[Storage], but: weakref.ref[Any] | None = None) -> None:
    """`Storage.notify_watchers` of each."""
    for storage in storages:
        if storage._watchers is not None:
            storage.notify_watchers(but)


def mark_written(storages: Iterable[Storage], place: str) -> None:
    """`Storage.wrote` of each."""
    for storage in storages:
        storage.wrote(place)


def _aligned_zeros(count: int, dtype: np.dtype[Any]) -> Array:
    """Zeros as vector code wants them; the owner of the memory is `.base`."""
    return aligned_bytes(count * dtype.itemsize).view(dtype)


def _base_references() -> int | None:
    """How many references the owner of a host copy has without any view; None where counts cannot be relied on."""
    if not hasattr(sys, "getrefcount") or "t" in getattr(sys, "abiflags", ""):  # t: free-threaded
        return None
    probe = Storage(1)
    counts = [sys.getrefcount(probe._ensure_host().base)]
    view = probe._ensure_host()[:]
    counts.append(sys.getrefcount(probe._ensure_host().base))
    del view
    counts.append(sys.getrefcount(probe._ensure_host().base))
    return counts[0] if counts == [counts[0], counts[0] + 1, counts[0]] else None


_BASE_REFERENCES = _base_references()
