"""The machine that this process runs on: its cores and its processor."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from dragon.counting import how_many
from dragon.errors import DragonError

__all__ = ["machine", "usable_cores"]


def usable_cores() -> int:
    """Number of cores that this process may use."""
    try:
        from dragon.engines.onednn.library.threads import usable_cores as count

        return count()
    except (ImportError, AttributeError, OSError, DragonError):
        return os.cpu_count() or 1


def machine(cores: int) -> str:
    """The processor's name, with the number of cores that are used of it."""
    return f"{_processor()}, {how_many(cores, 'core')} used"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.machine()
