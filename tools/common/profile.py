"""The flag that names the fork that wrote a prototxt or weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dragon.proto.profiles import find_profile

__all__ = ["profile_option"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _known(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    find_profile(name)
    return name


def profile_option(function: _F) -> _F:
    """Decorator: add `--profile`, the name of a profile or None. Raises WeightsError for an unknown one."""
    return click.option(
        "--profile",
        metavar="NAME",
        callback=_known,
        help="The program whose dialect the prototxt is written in (dragon-2016, neopenx), or that wrote the weights.",
    )(function)
