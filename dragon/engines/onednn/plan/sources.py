"""What the last run of a plan was computed from, as it was then: of it a blob is made that is no more, or never was."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import numpy as np

from dragon.memory.storage import Array, Storage

__all__ = ["Sources"]


class Sources:
    """Host values that a plan read. Who changes one after the run leaves a copy of the old value here first."""

    def __init__(self) -> None:
        self._storages: dict[int, Storage] = {}
        self._saved: dict[int, Array] = {}  # memory for copies is kept
        self._valid: set[int] = set()
        self._ran = False
        self._me = weakref.ref(self)

    def add(self, storages: Iterable[Storage]) -> None:
        """Watch these from the next run on."""
        self._storages.update((id(storage), storage) for storage in storages)

    def begin(self) -> None:
        """A run begins: what the one before was made of matters no more."""
        self._ran = False
        self._valid.clear()

    def end(self) -> None:
        """A run is over. A value that somebody holds may change without notice, so it is copied now."""
        self._ran = True
        for storage in self._storages.values():
            if storage.held:
                self.about_to_change(storage)
            else:
                storage.watch(self._me)

    def about_to_change(self, storage: Storage) -> None:
        """The storage still has the value of the run."""
        key = id(storage)
        if not self._ran or key in self._valid or key not in self._storages:
            return
        value = storage.read()
        kept = self._saved.get(key)
        if kept is None or kept.size != value.size:
            kept = self._saved[key] = np.empty_like(value)
        kept[...] = value
        self._valid.add(key)

    def saved(self, storage: Storage) -> Array | None:
        """The flat value that the run read, if the storage may have another one by now."""
        return self._saved[id(storage)] if id(storage) in self._valid else None

    def then(self, storage: Storage) -> Array:
        """The flat value that the run read."""
        saved = self.saved(storage)
        return storage.read() if saved is None else saved
