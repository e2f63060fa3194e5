"""The arrays of a net's blobs of which a script holds a view: they are brought up to date after each pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon.memory.changes import Changes
from dragon.memory.storage import held_among

if TYPE_CHECKING:
    from dragon.graph.net import Net

__all__ = ["HeldArrays"]


class HeldArrays:
    """Those of one net."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self._changes: Changes | None = None  # of the blobs, in TEST
        self._changes_of = -1  # the version of the net's arrays that they follow

    def bring_up_to_date(self, training: bool) -> None:
        """Copy what the pass has given into the arrays that a script holds."""
        if not training:
            self._changed_alone()
            return
        for blob in self.net.blobs.values():
            if blob.data_storage.held:
                blob.data_storage.read()
            if blob.diff_storage.held:
                blob.diff_storage.read()

    def _changed_alone(self) -> None:
        """With a look only at storages that somebody has used since the last pass: the passes of TEST are short."""
        version = self.net.context.space.version
        if self._changes is None or version != self._changes_of:
            self._changes, self._changes_of = Changes(), version
            for blob in self.net.blobs.values():
                self._changes.follow(blob.data_storage)
                self._changes.follow(blob.diff_storage)
        changed = list(self._changes)
        held = held_among(changed)
        for storage in held:
            storage.read()
        self._changes.looked_at(changed)
        self._changes.look_at(held)
