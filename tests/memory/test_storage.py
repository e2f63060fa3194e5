"""Storage: which copy is newest, and when values move."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dragon.memory import storage as storage_module
from dragon.memory.storage import (
    Array,
    Storage,
    _base_references,
    held_among,
    mark_written,
    notify_watchers_of,
    stale_among,
)


class Doubled:
    """A copy that keeps twice the value, and counts its conversions."""

    def __init__(self, count: int) -> None:
        self.value = np.zeros(count, np.float32)
        self.reads = self.writes = 0

    def to_host(self, host: Array) -> None:
        self.reads += 1
        host[...] = self.value / 2

    def from_host(self, host: Array) -> None:
        self.writes += 1
        self.value[...] = host * 2


def storage_with_copy() -> tuple[Storage, Doubled]:
    storage, copy = Storage(3), Doubled(3)
    storage.attach("there", copy)
    return storage, copy


def test_a_new_storage_is_zero() -> None:
    assert Storage(4).read().tolist() == [0, 0, 0, 0]


def test_sync_converts_once_until_somebody_writes() -> None:
    storage, copy = storage_with_copy()
    storage.write()[...] = [1, 2, 3]
    storage.sync("there")
    storage.sync("there")
    assert copy.writes == 1
    assert copy.value.tolist() == [2, 4, 6]
    storage.read()
    storage.sync("there")
    assert copy.writes == 1, "reading must not make the copy stale"
    storage.write()
    storage.sync("there")
    assert copy.writes == 2


def test_reading_after_the_engine_wrote_fetches_once() -> None:
    storage, copy = storage_with_copy()
    copy.value[...] = [8, 8, 8]
    storage.wrote("there")
    assert storage.read().tolist() == [4, 4, 4]
    storage.read()
    assert copy.reads == 1


def test_overwrite_does_not_fetch() -> None:
    storage, copy = storage_with_copy()
    storage.wrote("there")
    storage.overwrite()[...] = 1
    assert copy.reads == 0
    assert not storage.is_fresh("there")


def test_detach_saves_the_only_newest_value() -> None:
    storage, copy = storage_with_copy()
    copy.value[...] = 2
    storage.wrote("there")
    storage.detach("there")
    assert storage.read().tolist() == [1, 1, 1]


def test_held_tells_whether_a_view_is_alive() -> None:
    storage = Storage(3)
    assert not storage.held
    view = storage.write().reshape(3, 1)
    assert storage.held
    part = view[1:]
    del view
    assert storage.held
    del part
    assert not storage.held


class Marked(np.ndarray[Any, Any]):
    """An array of a user's class."""


@pytest.mark.parametrize(
    "keep", [memoryview, np.transpose, lambda a: a.view(Marked), lambda a: a[1:].view(np.int32), lambda a: [a]]
)
def test_whatever_keeps_a_view_holds_the_storage(keep: Callable[[Array], object]) -> None:
    storage = Storage(4)
    kept = keep(storage.write().reshape(2, 2))
    assert storage.held
    del kept
    assert not storage.held


def test_where_references_cannot_be_counted_every_allocated_storage_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_BASE_REFERENCES", None)
    storage = Storage(3)
    assert not storage.held, "it has no host memory that somebody could hold"
    storage.read()
    assert storage.held


def test_which_interpreters_count_references(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _base_references() is not None
    with monkeypatch.context() as patch:
        patch.setattr(sys, "abiflags", "t")
        assert _base_references() is None, "a free-threaded build"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "getrefcount", lambda owner: 1 << 30)
        assert _base_references() is None, "a view makes no difference"
    with monkeypatch.context() as patch:
        patch.delattr(sys, "getrefcount")
        assert _base_references() is None, "another interpreter"


def test_growing_keeps_the_front() -> None:
    storage, copy = storage_with_copy()
    copy.value[...] = [2, 4, 6]
    storage.wrote("there")
    storage.resize(5)
    assert storage.read().tolist() == [1, 2, 3, 0, 0]


def test_many_storages_at_once() -> None:
    storages = [Storage(3) for _ in range(4)]
    for storage in storages[:3]:
        storage.attach("gpu", Doubled(3))
        storage.sync("gpu")
    view = storages[1].write()[:2]
    assert held_among(storages) == [storages[1]]
    assert stale_among(storages, "gpu") == [storages[1], storages[3]]

    class Watcher:
        def __init__(self) -> None:
            self.seen: list[Storage] = []

        def about_to_change(self, storage: Storage) -> None:
            self.seen.append(storage)

    watcher = Watcher()
    storages[0].watch(weakref.ref(watcher))
    notify_watchers_of(storages)
    notify_watchers_of(storages)
    assert watcher.seen == [storages[0]]
    mark_written(storages[:2], "gpu")
    assert stale_among(storages[:2], "host") == storages[:2]
    storages[0].write()
    assert stale_among(storages[:2], "gpu") == [storages[0]]  # each storage has a state of its own
    assert view.size == 2


def counted(value: float, calls: list[int]) -> Callable[[Array], None]:
    def fill(host: Array) -> None:
        calls.append(host.size)
        host[...] = value

    return fill


def test_a_value_to_come_is_made_when_it_is_read() -> None:
    storage, calls = Storage(4), list[int]()
    storage.fill_later(counted(3, calls))
    assert (calls, storage.allocated, storage.epoch) == ([], True, 1)
    assert storage.read().tolist() == [3, 3, 3, 3]
    storage.write()[0] = 5
    assert (storage.read().tolist(), calls) == ([5, 3, 3, 3], [4])


def test_a_value_to_come_is_not_made_where_another_takes_its_place() -> None:
    storage, calls = Storage(4), list[int]()
    storage.fill_later(counted(3, calls))
    storage.overwrite()[...] = 1
    assert (storage.read().tolist(), calls) == ([1, 1, 1, 1], [])


def test_a_value_to_come_is_made_before_a_copy_takes_it_and_before_growing() -> None:
    storage, calls, copy = Storage(2), list[int](), Doubled(2)
    storage.fill_later(counted(3, calls))
    storage.attach("there", copy)
    storage.sync("there")
    assert copy.value.tolist() == [6, 6]
    grown = Storage(2)
    grown.fill_later(counted(7, calls))
    grown.resize(3)
    assert (grown.read().tolist(), calls) == ([7, 7, 0], [2, 2])


def test_a_value_to_come_is_made_once_by_several_threads() -> None:
    storage, calls = Storage(1000), list[int]()

    def slow(host: Array) -> None:
        calls.append(host.size)
        for i in range(host.size):
            host[i] = i
            time.sleep(0)

    storage.fill_later(slow)
    found: list[Array] = []
    threads = [threading.Thread(target=lambda: found.append(storage.read())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1000]
    assert all(values is found[0] for values in found)
    assert np.array_equal(found[0], np.arange(1000))


def test_memory_that_is_not_there_is_missed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> Array:
        raise MemoryError

    monkeypatch.setattr(storage_module, "_aligned_zeros", fail)
    with pytest.raises(MemoryError):
        Storage(4).fill_later(counted(3, []))
