"""A net's arrays on one GPU: handed to layers while they run, and what a run reads and writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dragon.engines.cuda.copies import device_array
from dragon.engines.cuda.device import Gpu
from dragon.storage import Storage

__all__ = ["Arrays"]


class Arrays:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.readonly: frozenset[int] = frozenset()  # storages that the running layer only reads
        self._storages: dict[int, Storage] = {}  # all that have a copy here
        self._touched: dict[int, Storage] | None = None  # while somebody wants to know
        self._written: dict[int, Storage] | None = None

    def view(self, storage: Storage, shape: tuple[int, ...]) -> Any:
        """What a blob hands out while layers run here."""
        array = self.of(storage)
        if id(storage) not in self.readonly:
            storage.tell()
            storage.wrote(self.gpu.place)
            if self._written is not None:
                self._written[id(storage)] = storage
        count = math.prod(shape)
        return (array if array.size == count else array[:count]).reshape(shape)

    def of(self, storage: Storage) -> Any:
        """A storage's flat array on the GPU, up to date."""
        self._storages[id(storage)] = storage
        if self._touched is not None:
            self._touched[id(storage)] = storage
        return device_array(self.gpu, storage)

    @contextmanager
    def noted(self, touched: dict[int, Storage], written: dict[int, Storage]) -> Iterator[None]:
        """Enter into these what is read and written."""
        self._touched, self._written = touched, written
        try:
            yield
        finally:
            self._touched = self._written = None

    def begin(self) -> None:
        """Whoever holds a view of a host copy may have written it."""
        for storage in self._storages.values():
            if storage.held:
                storage.write()

    def end(self) -> None:
        """Whoever holds a view of a host copy wants to see what was computed."""
        for storage in self._storages.values():
            if storage.held:
                storage.read()

    def forget(self) -> None:
        """Storages without a copy here are no concern of ours any more."""
        place = self.gpu.place
        self._storages = {k: s for k, s in self._storages.items() if s.copy_at(place) is not None}
