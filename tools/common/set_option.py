"""The flag --set: settings of a solver or a net that are changed after it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dragon.graph.changes import change_net
from dragon.proto import dragon_pb2 as pb
from dragon.proto.assign import Assignment
from dragon.proto.definition import Definition
from dragon.proto.text import read_net_definition

__all__ = ["NET", "read_changed_net", "set_flag", "set_net_option", "set_option"]

_F = TypeVar("_F", bound=Callable[..., Any])
_NAMES = ("--set", "assignments")

NET = "the net, such as conv1.num_output=64"


def _parsed(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[Assignment, ...]:
    return tuple(map(Assignment.parse, texts))


def set_option(what: str) -> Callable[[_F], _F]:
    """Decorator: add `--set`, which may be repeated, as `assignments`. what: that it changes, for the help."""
    return click.option(*_NAMES, **_settings(what))


def set_flag(what: str) -> click.Option:
    """As `set_option`, the option itself."""
    return click.Option(_NAMES, **_settings(what))


def _settings(what: str) -> dict[str, Any]:
    text = f"Change a setting of {what}; may be repeated."
    return {"multiple": True, "metavar": "FIELD=VALUE", "callback": _parsed, "help": text}


set_net_option = set_option(NET)


def read_changed_net(
    model: str, assignments: tuple[Assignment, ...], allow_unknown: bool = False, profile: str | None = None
) -> Definition[pb.NetParameter]:
    """A net's definition with the assignments. Raises PrototxtError, UsageError."""
    return change_net(read_net_definition(model, allow_unknown, profile), assignments)
