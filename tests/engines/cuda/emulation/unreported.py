"""Checks that whatever changes a storage reports it (`Storage.follow`), by looking at all storages before each replay.

The engine looks at reported ones only. All tests of the engine run under these checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dragon.engines.cuda.device.graphs import Captured
from dragon.engines.cuda.plan.arrays import Arrays
from dragon.engines.cuda.updating import DeviceUpdate
from dragon.engines.lifetimes.sources import Sources
from dragon.memory.storage import held_among

__all__ = ["UnreportedError", "install"]


class UnreportedError(AssertionError):
    """A storage has changed, and nobody reported it."""


def install(patch: pytest.MonkeyPatch) -> None:
    """Check before each replay, run, update and end of a pass."""
    for cls, method, check in (
        (Captured, "_replay", check_graph),
        (Arrays, "_held", check_held),
        (DeviceUpdate, "_is_current", check_update),
        (Sources, "end", check_sources),
    ):
        patch.setattr(cls, method, _checked(getattr(cls, method), check))


def _checked(method: Callable[[Any], Any], check: Callable[[Any], None]) -> Callable[[Any], Any]:
    def checked(self: Any) -> Any:
        check(self)
        return method(self)

    return checked


def check_graph(graph: Any) -> None:
    """A storage that is not reported is as the last replay left it."""
    place, arrays = graph._gpu.place, graph._arrays
    for key, storage in graph._touched.items():
        if storage in graph._changes:
            continue
        expected = {place, *filter(storage.is_fresh, (arrays.working_place, arrays.last_place))}
        read = [copies for copies, storages in graph._parameters.items() if key in storages]
        if not all(storage.is_fresh(one) for one in (place, *read)):
            raise UnreportedError(f"{graph.name}: a storage that is stale")
        if key in graph._written and storage._fresh != expected:
            raise UnreportedError(f"{graph.name}: a copy at {storage._fresh - expected} of what the graph writes")
        if key in graph._written and any(watcher != graph._own_watcher for watcher in storage._watchers or ()):
            raise UnreportedError(f"{graph.name}: a storage that is watched")


def check_held(arrays: Any) -> None:
    """A storage that is not reported is not held."""
    if any(storage not in arrays._changes for storage in held_among(arrays._storages.values())):
        raise UnreportedError("a storage of which somebody holds a view")


def check_update(update: Any) -> None:
    """What is not reported is up to date in the tables."""
    for storage in update._copies:
        if storage in update._changes:
            continue
        if not update._is_in_table(storage):
            raise UnreportedError("a storage of the update that moved or is stale")
        written = storage in update._learned or storage in update._others
        if written and storage._fresh - set(update._places):
            raise UnreportedError("a copy of what the update writes, elsewhere")
        if storage in update._learned and storage._watchers:
            raise UnreportedError("a parameter that is watched")


def check_sources(sources: Any) -> None:
    """A source that is not reported is watched and not held."""
    if sources._changes is None:
        return
    for storage in sources._storages:
        if storage not in sources._changes and (storage.held or sources.watcher not in (storage._watchers or ())):
            raise UnreportedError("a source that is held, or not watched")
