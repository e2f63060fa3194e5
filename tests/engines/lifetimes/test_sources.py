"""What a pass read is still known after somebody has changed it."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from dragon.engines.lifetimes.sources import Sources
from dragon.memory.storage import Storage


def copied(storage: Storage, old: Any) -> Any:
    copy = np.empty_like(storage.read()) if old is None else old
    copy[...] = storage.read()
    return copy


@pytest.fixture
def storage() -> Storage:
    made = Storage(3)
    made.write()[...] = 1
    return made


@pytest.mark.parametrize("reuse", [True, False])
def test_the_old_value_is_copied_before_the_first_change(storage: Storage, reuse: bool) -> None:
    sources: Sources[Any] = Sources(copied, reuse)
    sources.add([storage])
    memory = set()
    for value in (1, 5, 7):
        storage.write()[...] = value
        sources.begin()
        sources.end()
        assert not sources.changed
        storage.write()[...] = 50
        storage.write()[...] = 60
        assert (sources.changed[storage] == value).all()
        memory.add(sources.changed[storage].ctypes.data)
        assert storage.read()[0] == 60
    assert len(memory) == 1 or not reuse


def test_nothing_is_copied_while_a_pass_runs(storage: Storage) -> None:
    sources: Sources[Any] = Sources(copied, reuse=False)
    sources.add([storage])
    sources.begin()
    sources.end()
    assert sources.ended
    sources.begin()
    assert not sources.ended
    storage.write()[...] = 2
    assert not sources.changed


def test_a_value_that_somebody_holds_is_copied_at_once(storage: Storage) -> None:
    sources: Sources[Any] = Sources(copied, reuse=False)
    sources.add([storage])
    view = storage.write()[:]
    sources.begin()
    sources.end()
    view[...] = 9
    assert (sources.changed[storage] == 1).all()


def test_cleared_sources_are_not_copied(storage: Storage) -> None:
    sources: Sources[Any] = Sources(copied, reuse=False)
    sources.add([storage])
    sources.begin()
    sources.end()
    sources.clear()
    storage.write()[...] = 2
    assert not sources.changed


def test_a_storage_does_not_keep_its_watchers(storage: Storage) -> None:
    sources: Sources[Any] = Sources(lambda storage, old: pytest.fail("nobody needs it"), reuse=False)
    sources.add([storage])
    sources.begin()
    sources.end()
    del sources
    gc.collect()
    storage.write()[...] = 2
