"""The command line of a command as it was given, for records and for hints of what to run next."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import Any

import click

__all__ = ["JOB", "RememberingCommand", "command_line", "repeated_flags"]

JOB = "--job"  # the hidden flag of processes that dragon has started, behind the others
_ARGS = "dragon.args"  # in the meta of a context


class RememberingCommand(click.Command):
    """A command that keeps the arguments that it was given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, and keep the arguments."""
        ctx.meta[_ARGS] = list(args)
        return super().parse_args(ctx, args)


def command_line(context: click.Context) -> str:
    """The command line, as a shell takes it."""
    args = context.meta[_ARGS]
    if JOB in args:
        args = args[: args.index(JOB)]
    return shlex.join(["dragon", str(context.command.name), *args])


def repeated_flags(context: click.Context, without: Collection[str]) -> list[str]:
    """The flags that were given, with their values, but for those `without`, which are names like `--seed`."""
    given, _, _ = context.command.make_parser(context).parse_args(list(context.meta[_ARGS]))
    words: list[str] = []
    for param in context.command.params:
        if not isinstance(param, click.Option) or param.name not in given or set(param.opts) & set(without):
            continue
        value: Any = given[param.name]
        for each in value if isinstance(value, list) else [value]:
            # a flag whose value may be left out has a mark of click's there
            words += [param.opts[0], each] if isinstance(each, str) and not param.is_flag else [param.opts[0]]
    return words
