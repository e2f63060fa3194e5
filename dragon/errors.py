"""Dragon's exceptions.

DragonError
├── PrototxtError   a text or binary definition cannot be parsed, upgraded or built (file:line:column in the message)
├── ShapeError      blob shapes do not fit the layer that receives them
├── WeightsError    weights or a snapshot are damaged or belong to another net
├── DataError       a data source is missing, empty, damaged or of another shape
├── EngineError     an engine is not available or failed
├── NumericError    a value became NaN or infinite
└── UsageError      a command-line option or a configuration value is wrong
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "DragonError",
    "EngineError",
    "NumericError",
    "PrototxtError",
    "ShapeError",
    "UsageError",
    "WeightsError",
    "nearest",
    "one_line",
]


class DragonError(Exception):
    """Base of every error that a user's input can cause; its message is one line, whatever a file's names hold."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class PrototxtError(DragonError):
    """A prototxt, net or solver definition is wrong."""


class ShapeError(DragonError):
    """Shapes do not fit; the message names the layer and its type."""


class WeightsError(DragonError):
    """A weights file or snapshot cannot be used for this net."""


class DataError(DragonError):
    """A data source cannot be read or holds something else than expected."""


class EngineError(DragonError):
    """An engine is missing or failed."""


class NumericError(DragonError):
    """A blob went non-finite; the message names the first layer where it did."""


class UsageError(DragonError):
    """An option or a configuration value is wrong."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean "x"?)`` for the closest known name, or an empty string."""
    candidates = list(known)
    lowered = {c.lower(): c for c in candidates}
    if name.lower() in lowered:
        close = [lowered[name.lower()]]
    else:
        close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not close:
        close = [lowered[c] for c in difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)]
    return f' (did you mean "{close[0]}"?)' if close else ""


def one_line(text: str) -> str:
    """The text with everything escaped that would break a line or a terminal: names come from files."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
