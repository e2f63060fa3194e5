"""The callback by which long operations report progress; the library itself prints nothing."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called with the stage and the work done; `total` is None while unknown. A stage ends with done == total."""

    def __call__(self, stage: str, done: int, total: int | None) -> None: ...


def silent(stage: str, done: int, total: int | None) -> None:
    """The progress callback that does nothing."""
