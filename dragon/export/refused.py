"""Errors that name several layers of a net, each with its line in the file that the net was read from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from dragon.errors import DragonError, Position

__all__ = ["Refused", "named", "refuse"]

E = TypeVar("E", bound=DragonError)
Refused = tuple[str, str, Position | None]  # a layer, what is wrong with it, and where it stands


def refuse(kind: type[E], found: Sequence[Refused], before: str, after: str = "") -> E:
    """The error `before: layer why; layer why`, at the place of the first layer; the others have their lines behind.

    Raises IndexError where nothing was found.
    """
    first = found[0][2]
    each = [f"{named(layer, place, first)} {why}" for layer, why, place in found]
    return kind(f"{before}: {'; '.join(each)}{after}", position=first)


def named(layer: str, place: Position | None, first: Position | None) -> str:
    """The layer with its line; without where that is not known, or that of the error itself, `first`."""
    return layer if place is None or not place.line or place == first else f"{layer} (line {place.line})"
