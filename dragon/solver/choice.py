"""A setting of a solver that is one of some names."""

from __future__ import annotations

from collections.abc import Collection

from dragon.errors import SolverFieldError, nearest

__all__ = ["REGULARIZERS", "check_choice"]

REGULARIZERS = ("L2", "L1")


def check_choice(field: str, value: str, allowed: Collection[str]) -> None:
    """Raise SolverFieldError, with the names and the nearest one, unless the value of a field is one of them."""
    if value not in allowed:
        raise SolverFieldError(field, f'{field} is one of {", ".join(allowed)}, got "{value}"{nearest(value, allowed)}')
