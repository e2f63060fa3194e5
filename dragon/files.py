"""Writing files so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import os

from dragon.atomic import atomic_write, sync_folder

__all__ = ["sync_folder", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace `path` by `content`: temporary file beside it, flush, fsync, rename. Raises OSError."""
    with atomic_write(path) as file:
        file.write(content)
