"""The flags of the net state: level and stages, by which a net's include and exclude rules choose layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dragon.tools.common.numbers import INT32

__all__ = ["state_options"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _names(_context: click.Context, _param: click.Parameter, text: str | None) -> list[str]:
    return text.split(",") if text else []


def state_options(level: int | None = 0) -> Callable[[_F], _F]:
    """Decorator: add `--level`, by default `level`, and `--stage`, handed to the command as `stages`, a list."""

    def decorate(function: _F) -> _F:
        stage = click.option("--stage", "stages", callback=_names, metavar="NAME,...", help="The net state's stages.")
        return click.option("--level", type=INT32, default=level, help="The net state's level.")(stage(function))

    return decorate
