"""`dragon help COMMAND`: shows the help of a command."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("help")
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command, or of all.

    \b
    Example: dragon help bn insert
    """
    from dragon.errors import UsageError
    from dragon.tools.common.lazy_group import unknown_command
    from dragon.tools.main import cli

    found: click.Command = cli
    shown = click.Context(cli, info_name="dragon", **cli.context_settings)
    for k, name in enumerate(names):
        if not isinstance(found, click.Group):
            raise UsageError(f"`{shown.command_path}` has no commands of its own, got {' '.join(names[k:])}")
        inner = found.get_command(shown, name)
        if inner is None:
            known = found.list_commands(shown)
            where = f"{shown.command_path}: " if k else ""
            raise UsageError(where + unknown_command(name, known, shown.command_path))
        shown = click.Context(inner, shown, info_name=inner.name, **inner.context_settings)
        found = inner
    click.echo(found.get_help(shown))
