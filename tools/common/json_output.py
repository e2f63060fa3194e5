"""The flag --json: a command prints one JSON document in place of its text."""

from __future__ import annotations

import functools
import io
import json
import math
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, is_dataclass
from typing import Any

import click
import numpy as np

__all__ = ["as_json", "json_option"]


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: add `--json`. The command returns its document, or document and exit status, besides printing text.

    With the flag the text is not shown, and the document is the only thing on stdout. What the documents hold is
    described in docs/json.md. None: this process has nothing to print.
    """

    @click.option("--json", "wants_json", is_flag=True, help="Print one JSON document in place of the text.")
    @functools.wraps(function)
    def wrapper(*args: Any, wants_json: bool, **kwargs: Any) -> Any:
        if not wants_json:
            return _status(function(*args, **kwargs))
        with redirect_stdout(io.StringIO()):
            found = function(*args, **kwargs)
        if found is None:  # a rank that is not the first one
            return None
        click.echo(json.dumps(as_json(found[0] if isinstance(found, tuple) else found), indent=1))
        return _status(found)

    return wrapper


def _status(found: Any) -> Any:
    return found[1] if isinstance(found, tuple) else None


def as_json(value: Any) -> Any:
    """The value in types that JSON has; NaN and infinities, which it has not, are null."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
