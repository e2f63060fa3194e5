"""The format of a picture to write, by the suffix of its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dragon.errors import UsageError

__all__ = ["picture_format"]


def picture_format(path: str | Path, offered: Sequence[str], also: Iterable[str] = ()) -> str:
    """The format of `path` by its suffix, one of `offered` or `also`. Raises UsageError, which lists `offered`."""
    ending = Path(path).suffix.lower()
    if ending.lstrip(".") in {*offered, *also}:
        return ending.lstrip(".")
    *first, last = (f".{name}" for name in offered)
    known = f"{', '.join(first)} or {last}" if first else last
    raise UsageError(f"{path}: the name must end in {known}" + (f", not {ending}" if ending else ""))
