"""What a snapshot stored of a layer's state, entry by entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from dragon.bases.layer import Layer
from dragon.errors import DataError

__all__ = ["stored"]

_Value = TypeVar("_Value")


def stored(layer: Layer, state: Mapping[str, _Value], name: str) -> _Value:
    """The entry of a name in the state that a layer is to load. Raises DataError where the snapshot has none."""
    if name not in state:
        raise DataError(f"the snapshot holds no {name}", layer=layer.where)
    return state[name]
