"""The flag that allows Python layers, and the report of an exception in one."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dragon import errors
from dragon.bases.user_code import failing_layer, user_code, user_error
from dragon.errors import text_of

__all__ = ["allow_python", "describe_layer_error"]

_F = TypeVar("_F", bound=Callable[..., Any])


def allow_python(function: _F) -> _F:
    """Decorator: add `--allow-python`, which allows Python layers in the nets of the command."""

    def grant(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.with_resource(user_code(True))

    return click.option(
        "--allow-python",
        is_flag=True,
        expose_value=False,
        callback=grant,
        help="Let the net run Python layers, which are programs.",
    )(function)


def describe_layer_error(error: Exception) -> tuple[str, str] | None:
    """The traceback of an exception in user code of a layer, without frames of Dragon, and a message with its position.

    None for other exceptions.
    """
    own = user_error(error)
    layer = failing_layer(own) if own is not None else None
    if own is None or layer is None:
        return None
    package = str(Path(errors.__file__).resolve().parent)
    frames = traceback.extract_tb(own.__traceback__)
    first = next((i for i, frame in enumerate(frames) if not _within(frame.filename, package)), len(frames) - 1)
    shown = "Traceback (most recent call last), in the layer's own code:\n" + "".join(
        traceback.format_list(frames[first:])
    )
    last = frames[-1]
    text = f": {text_of(own)}" if text_of(own) else ""
    return shown, f"{layer}: {type(own).__name__}{text} ({last.filename}, line {last.lineno})"


def _within(path: str, folder: str) -> bool:
    """Whether a file belongs to the package, some folders of which may be symbolic links."""
    real = Path(path).resolve()
    tops = [Path(folder), *(Path(folder, name).resolve() for name in ("layers", "proto", "tools", "models"))]
    return any(real.is_relative_to(top) for top in tops)
