"""The memory that this process has used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["peak_memory_mib"]


def peak_memory_mib() -> float:
    """Peak memory of this process in MiB; 0 where the system does not tell."""
    try:
        resource: Any = importlib.import_module("resource")  # type checkers know its functions on POSIX only
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak / (2**20 if sys.platform == "darwin" else 2**10))
