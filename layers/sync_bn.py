"""SyncBN: BN under the name that multi-device forks use; with one device there is nothing to synchronise."""

from __future__ import annotations

from dragon.bases.layer import register
from dragon.layers.bn import BN

__all__: list[str] = []

register("SyncBN")(BN)
