"""Experiments: variants of a net over factors and seeds, from a file to runs, metrics, contrasts and a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dragon.compare.session import compare

__all__ = ["compare"]


def __getattr__(name: str) -> Any:
    if name == "compare":  # later: it imports the whole package, of which `dragon train` needs one module
        from dragon.compare.session import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
