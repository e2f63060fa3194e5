"""Whether layers write the files that their settings name (HDF5Output, DetectionOutput).

In the library they do. Commands that only look at a net forbid it, see `layer_files`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dragon.errors import DataError, LayerName
from dragon.files.reading import was_read

__all__ = ["layer_files", "may_write", "refuse_overwrite"]

log = logging.getLogger("dragon")
_allowed = True


@contextmanager
def layer_files(allowed: bool) -> Iterator[None]:
    """Allow or forbid that layers which are set up in the block write files."""
    global _allowed
    before, _allowed = _allowed, allowed
    try:
        yield
    finally:
        _allowed = before


def may_write(path: str, layer: LayerName) -> bool:
    """Whether a layer that is being set up may write to `path`; logs a line if not."""
    if not _allowed:
        log.info("%s: %s is not written: only training writes it, or `dragon test --write-files`", layer, path)
    return _allowed


def refuse_overwrite(path: str, layer: LayerName) -> None:
    """Raise DataError if the command has read the file at `path`, which `layer` is about to replace."""
    if was_read(path):
        raise DataError(f"{path} is a file that is read as well, and would be overwritten", layer=layer)
