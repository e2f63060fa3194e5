"""A group of commands, each of which is imported when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import ClassVar

import click

from dragon.errors import nearest
from dragon.tools.common.arguments import plain_booleans

__all__ = ["LazyGroup", "unknown_command"]


def unknown_command(name: str, known: Iterable[str], group: str) -> str:
    """The message for a command that `group` has not: the nearest one, or how to list them."""
    return f'unknown command "{name}"{nearest(name, known) or f"; `{group} --help` lists them"}'


class LazyGroup(click.Group):
    """A group whose commands are the `command` of a module each.

    texts: the names, each with its line of the help, which therefore need not load the commands.
    """

    texts: ClassVar[Mapping[str, str]] = {}

    def module(self, name: str) -> str:
        """The module of a command."""
        raise NotImplementedError

    def own_name(self, name: str) -> tuple[str, ...]:
        """The command and flags that a name on the command line stands for."""
        return (name.replace("_", "-"),)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.texts)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        name, *_ = self.own_name(name)
        if name not in self.texts:
            return None
        command: click.Command = importlib.import_module(self.module(name)).command
        for param in command.params:
            if param.metavar and isinstance(param.type, click.types.StringParamType):
                if param.metavar.startswith("FILE"):  # so that shells complete it
                    param.type = click.Path()
                elif param.metavar.startswith("DIR"):
                    param.type = click.Path(file_okay=False)
            if isinstance(param.type, click.Choice):
                param.type.case_sensitive = False  # Caffe's scripts write LMDB
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` name, with the arguments that follow. Raises UsageError, with the nearest name."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(unknown_command(name, self.texts, ctx.command_path))
        found, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            rest = (
                rest if isinstance(command, click.Group) else plain_booleans(command, click.Context(command, ctx), rest)
            )
            rest = [*self.own_name(name)[1:], *rest]
        return found, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.texts.items()))
