"""Changes: which of many storages an engine has to look at again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dragon.memory.storage import Storage

__all__ = ["Changes"]


class Changes:
    """The followed storages that may have become stale, held or watched since they were looked at.

    A run that repeats need only look at these (`Storage.follow`), however many storages it uses.
    """

    def __init__(self) -> None:
        self._found: set[Storage] = set()
        self._followed: set[Storage] = set()

    def follow(self, storage: Storage) -> None:
        """Follow a storage, which counts as changed at first. May be called again."""
        if storage not in self._followed:
            self._followed.add(storage)
            self._found.add(storage)
            storage.follow(self._found)

    def unfollow(self, storages: Iterable[Storage]) -> None:
        """Follow these storages no longer."""
        for storage in list(storages):
            storage.unfollow(self._found)
            self._followed.discard(storage)
            self._found.discard(storage)

    def __iter__(self) -> Iterator[Storage]:
        """The changed storages, as they are when the loop begins."""
        return iter(tuple(self._found))

    def __bool__(self) -> bool:
        return bool(self._found)

    def __contains__(self, storage: Storage) -> bool:
        return storage in self._found

    def looked_at(self, storages: Iterable[Storage]) -> None:
        """Count these storages as unchanged from now on."""
        self._found.difference_update(storages)

    def look_at(self, storages: Iterable[Storage]) -> None:
        """Count these followed storages as changed."""
        self._found.update(storages)

    def __del__(self) -> None:
        for storage in self._followed:
            storage.unfollow(self._found)
