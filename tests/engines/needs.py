"""What tests need of the machine: they are skipped where it is missing."""

from __future__ import annotations

import pytest

from dragon.engines.onednn.library.binding import Library, library
from dragon.errors import EngineError

__all__ = ["onednn"]


def onednn() -> Library:
    """The library of oneDNN."""
    try:
        return library()
    except EngineError as error:
        pytest.skip(str(error))
