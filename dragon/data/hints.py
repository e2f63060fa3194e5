"""What to do about data that is not there."""

from __future__ import annotations

import os
from pathlib import PurePath

__all__ = ["missing_hint"]

_FETCHED = ("cifar10", "mnist", "synthetic")


def missing_hint(path: str | os.PathLike[str]) -> str:
    """`` (...)`` for a path that does not exist: where it was looked for and, for a known data set, how to get it."""
    parts = PurePath(path).parts
    where = "" if os.path.isabs(path) else f"looked for from {os.getcwd()}"
    known = next((name for name in _FETCHED if name in parts[:-1]), None)
    fetch = f"`dragon data {known}` fetches it" if known else ""
    both = "; ".join(part for part in (where, fetch) if part)
    return f" ({both})" if both else ""
