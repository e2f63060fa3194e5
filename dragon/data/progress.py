"""How long work in this package tells how far it is; the library itself prints nothing."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called often; `total` is None while it is unknown. A stage ends when done == total."""

    def __call__(self, stage: str, done: int, total: int | None) -> None: ...


def silent(stage: str, done: int, total: int | None) -> None:
    """The progress callback that does nothing."""
