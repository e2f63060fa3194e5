"""The page of the reference on the command line, made from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from docs.site.markdown import code, plain, table
from dragon.tools.main import cli

__all__ = ["command_page", "commands"]


def commands() -> Iterator[tuple[str, click.Command]]:
    """All commands with the words that call them, such as "bn insert"."""
    yield from _within(cli, click.Context(cli, info_name="dragon"), ())


def _within(group: click.Group, context: click.Context, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from _within(command, click.Context(command, parent=context, info_name=name), (*words, name))
        else:
            yield " ".join((*words, name)), command


def command_page() -> str:
    """Every command with its text, arguments and options."""
    parts = [
        "# Commands\n\nThe same text is shown by `dragon COMMAND --help`. Flags may be written as Caffe "
        "writes them (`-solver F`), names with underscores."
    ]
    for name, command in commands():
        parts.append(f"## dragon {name}")
        parts.extend(_text(command.help or ""))
        context = click.Context(command, info_name=f"dragon {name}")
        arguments = " ".join(command.collect_usage_pieces(context))
        parts.append(f"```text\ndragon {name} {arguments}\n```")
        rows = [row for param in command.params if isinstance(param, click.Option) and (row := _option(param, context))]
        if rows:
            parts.append(table(["option", "meaning"], rows))
    return "\n\n".join(parts) + "\n"


def _option(option: click.Option, context: click.Context) -> list[str] | None:
    record = option.get_help_record(context)
    return record and [code(record[0]), plain(record[1])]


def _text(text: str) -> Iterator[str]:
    """The paragraphs of a help text; those that click leaves as they are become code."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        as_it_is, _, rest = paragraph.rpartition("\b\n")
        if as_it_is or paragraph.startswith("\b"):
            yield f"```text\n{rest}\n```"
        else:
            yield plain(paragraph)
