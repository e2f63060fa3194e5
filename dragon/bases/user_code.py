"""Layers that are programs (type Python): whether they may run, and whose fault an exception in one of them is.

In the library they run. The command line asks for leave: see `user_code`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dragon.errors import DragonError, LayerName

__all__ = ["blamed", "culprit", "user_code", "user_code_allowed"]

_allowed = True
_CULPRIT = "dragon_layer"  # attribute of an exception that came out of a user's layer


@contextmanager
def user_code(allowed: bool) -> Iterator[None]:
    """Nets that are made within the block may bring Python layers, or may not, where they are not told otherwise."""
    global _allowed
    before, _allowed = _allowed, allowed
    try:
        yield
    finally:
        _allowed = before


def user_code_allowed() -> bool:
    """Whether a net that is made now may bring Python layers."""
    return _allowed


@contextmanager
def blamed(layer: LayerName) -> Iterator[None]:
    """Note on an exception of the block that the code of this layer, a user's, raised it. The exception stays."""
    try:
        yield
    except DragonError:
        raise
    except Exception as error:
        if culprit(error) is None:
            setattr(error, _CULPRIT, layer)
        raise


def culprit(error: BaseException) -> LayerName | None:
    """The user's layer whose code raised an exception; None for any other."""
    found = getattr(error, _CULPRIT, None)
    return found if isinstance(found, LayerName) else None
