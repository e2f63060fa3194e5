"""The arithmetic of an experiment's runs: a precision of the engines, or TF32 products on a GPU."""

from __future__ import annotations

from typing import Any

from dragon.engines import Options
from dragon.errors import UsageError

__all__ = ["TF32", "arithmetic", "options_for"]

TF32 = "tf32"  # float32, whose products a GPU multiplies in TF32


def arithmetic(precision: str, tf32: bool) -> str:
    """The name under which runs are stored and shown. Raises UsageError for TF32 beside 16 bits."""
    if tf32 and precision != "fp32":
        raise UsageError(
            f"--tf32 is for products of float32, and --precision {precision} multiplies in 16 bits: leave one out"
        )
    return TF32 if tf32 else precision


def options_for(name: str, **others: Any) -> Options:
    """The options of a net for the name that `arithmetic` gave. others: further fields of Options."""
    return Options(precision="fp32", tf32=True, **others) if name == TF32 else Options(precision=name, **others)
