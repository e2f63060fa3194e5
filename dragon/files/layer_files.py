"""Whether layers write the files that their settings name (HDF5Output, DetectionOutput).

In the library they do. Commands that only look at a net forbid it, see `layer_files`.
"""

from __future__ import annotations

import logging

from dragon.errors import DataError, LayerName
from dragon.files.permission import Permission
from dragon.files.reading import was_read

__all__ = ["layer_files", "may_write", "refuse_overwrite"]

log = logging.getLogger("dragon")


layer_files = Permission()  # for layers that are set up now to write files


def may_write(path: str, layer: LayerName) -> bool:
    """Whether a layer that is being set up may write to `path`; logs a line if not."""
    if not layer_files.granted:
        log.info("%s: %s is not written: only training writes it, or `dragon test --write-files`", layer, path)
    return layer_files.granted


def refuse_overwrite(path: str, layer: LayerName) -> None:
    """Raise DataError if the command has read the file at `path`, which `layer` is about to replace."""
    if was_read(path):
        raise DataError(f"{path} is a file that is read as well, and would be overwritten", layer=layer)
