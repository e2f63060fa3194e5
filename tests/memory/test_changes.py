"""Changes: what makes a storage a changed one."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import pytest

from dragon.memory.changes import Changes
from dragon.memory.storage import Array, Storage, mark_written


class Engine:
    """A copy elsewhere, which can also watch."""

    def to_host(self, host: Array) -> None:
        host[...] = 7

    def from_host(self, host: Array) -> None:
        pass

    def about_to_change(self, storage: Storage) -> None:
        pass


ENGINE = Engine()
ACTIONS: dict[str, Callable[[Storage], object]] = {
    "read": Storage.read,
    "write": Storage.write,
    "overwrite": Storage.overwrite,
    "attach": lambda s: s.attach("there", ENGINE),
    "detach": lambda s: s.detach("here"),
    "wrote": lambda s: s.wrote("host"),
    "wrote at two": lambda s: s.wrote_at("here", "there"),
    "written at once": lambda s: mark_written([s], "host"),
    "sync": lambda s: s.sync("stale"),
    "fresh": lambda s: s.mark_fresh("there"),
    "watch": lambda s: s.watch(weakref.ref(ENGINE)),
    "resize": lambda s: s.resize(9),
}


@pytest.fixture
def storage() -> Storage:
    made = Storage(4, np.float32)
    made.attach("here", ENGINE)
    made.attach("stale", ENGINE)
    made.wrote("here")
    return made


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_what_counts_as_a_change(storage: Storage, action: Callable[[Storage], object]) -> None:
    changes = [Changes(), Changes()]
    for own in changes:
        own.follow(storage)
        assert list(own) == [storage]  # at first
        own.looked_at([storage])
        assert not own
    action(storage)
    assert [list(own) for own in changes] == [[storage], [storage]]


def test_what_leaves_a_storage_as_it_is(storage: Storage) -> None:
    changes = Changes()
    watcher = weakref.ref(ENGINE)
    storage.watch(watcher)
    changes.follow(storage)
    changes.looked_at([storage])
    storage.wrote("here")
    storage.mark_fresh("here")
    storage.watch(watcher)
    storage.sync("here")
    storage.notify_watchers(but=watcher)
    storage.resize(2)
    assert not changes
    storage.notify_watchers()  # whoever watched has to watch anew
    assert storage in changes


def test_a_watcher_left_out_goes_on_watching(storage: Storage) -> None:
    heard = []

    class Other(Engine):
        def about_to_change(self, storage: Storage) -> None:
            heard.append(self)

    first, second = Other(), Other()
    for watcher in (first, second):
        storage.watch(weakref.ref(watcher))
    storage.notify_watchers(but=weakref.ref(first))
    assert heard == [second]
    storage.notify_watchers()
    assert heard == [second, first]


def test_changes_that_are_gone_are_followed_no_longer(storage: Storage) -> None:
    changes, others = Changes(), Changes()
    for own in (changes, others):
        own.follow(storage)
        own.follow(storage)
    del changes
    assert len(storage._followers) == 1
    others.looked_at([storage])
    storage.write()
    assert storage in others
    others.look_at([])
    others.unfollow([storage])
    assert not others
    assert not storage._followers
