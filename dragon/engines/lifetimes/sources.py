"""The values that recomputing starts from, as they were in the last forward pass."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from dragon.memory.changes import Changes
from dragon.memory.storage import Storage

__all__ = ["Sources"]

A = TypeVar("A")  # an array of the engine


class Sources(Generic[A]):
    """Storages that a pass reads. One that changes after the pass has its old value copied first.

    copy: makes a copy of a storage's value; its second argument is an older copy whose memory it may take, or None.
    reuse: whether the memory of copies is kept from one pass to the next. follow: whether `end` looks at changed
    storages only, since the engine does not notify `watcher` of what it writes during a pass. copied: further storages,
    whose values the engine copies by itself before each pass, and the copies.
    """

    def __init__(self, copy: Callable[[Storage, A | None], A], reuse: bool, follow: bool = False) -> None:
        self._copy, self._reuse = copy, reuse
        self._changes = Changes() if follow else None
        self._storages: set[Storage] = set()
        self._saved: dict[Storage, A] = {}
        self._spare: dict[Storage, A] = {}  # copies of earlier passes
        self.copied: Mapping[Storage, A] = {}
        self.ended = False  # whether a pass has ended and none has begun since
        self.watcher = weakref.ref(self)

    def add(self, storages: Iterable[Storage]) -> None:
        """Watch these storages from the next pass on."""
        added = set(storages)
        self._storages |= added
        if self._changes is not None:
            for storage in added:
                self._changes.follow(storage)

    def clear(self) -> None:
        """Watch nothing any more."""
        if self._changes is not None:
            self._changes.unfollow(self._storages)
        self._storages.clear()
        self._saved.clear()
        self._spare.clear()
        self.copied = {}

    def begin(self) -> None:
        """A pass begins: the values that the one before it read are not needed any more."""
        self.ended = False
        if self._reuse:
            self._spare.update(self._saved)
        self._saved.clear()

    def end(self) -> None:
        """A pass is over. A storage of which somebody holds a view may change without notice: it is copied now."""
        self.ended = True
        looked_at = self._storages if self._changes is None else list(self._changes)
        held = []
        for storage in looked_at:
            if storage.held:
                held.append(storage)
                self.about_to_change(storage)
            else:
                storage.watch(self.watcher)
        if self._changes is not None:
            self._changes.looked_at(looked_at)
            self._changes.look_at(held)

    def about_to_change(self, storage: Storage) -> None:
        """Copy the value of the pass, which the storage still has; called as a Watcher."""
        if self.ended and storage in self._storages and storage not in self._saved:
            self._saved[storage] = self._copy(storage, self._spare.pop(storage, None))

    @property
    def changed(self) -> Mapping[Storage, A]:
        """The value that the pass read, of each storage that may have another one by now."""
        return {**self.copied, **self._saved} if self.copied else self._saved
