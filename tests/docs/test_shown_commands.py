"""The commands that the documents show exist, with the options that are shown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dragon.tools.common.arguments import normalise
from dragon.tools.main import cli
from tests.docs.test_examples import DOCUMENTS

# a line of an indented block or a fence, or `dragon ...` within text
_LINE = re.compile(r"^ *(?:\$ )?(dragon \S.*)$", re.MULTILINE)
_INLINE = re.compile(r"`(dragon \S[^`]*\S)`")


def shown(text: str) -> Iterator[str]:
    text = text.replace("\\\n", " ")
    for match in [*_LINE.finditer(text), *_INLINE.finditer(text)]:
        yield re.split(r"\s[#|(>]|\s2>|;|&&", " ".join(match[1].split()))[0].strip()


def problem(line: str) -> str | None:
    """What is wrong with a command line that starts with `dragon`; None for one that could be given."""
    try:
        words, _ = normalise(shlex.split(line)[1:])
    except ValueError:
        return None  # prose with an apostrophe
    group: click.Group = cli
    context = click.Context(cli, info_name="dragon")
    command: click.Command = group
    while words and isinstance(command, click.Group):
        if words[0].startswith("-") or words[0].isupper():
            return None  # dragon --help, dragon COMMAND
        if re.search(r"[^\w-]", words[0]):
            return None  # prose
        name, *words = command.own_name(words[0]) + tuple(words[1:])  # type: ignore[attr-defined]
        found = command.get_command(context, name)
        if found is None:
            return f"no command {name}"
        command = found
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"-h", "--help"}
    given = [word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)]
    wrong = [word for word in given if word not in known]
    return f"no option {wrong[0]}" if wrong else None


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_a_document_shows_exist(path: Path) -> None:
    lines = shown(path.read_text(encoding="utf-8"))
    assert [f"{line}: {wrong}" for line in lines if (wrong := problem(line))] == []


def test_what_counts_as_wrong() -> None:
    assert problem("dragon train --solver x") is None
    assert problem("dragon bn insert --model x --after 'conv*'") is None
    assert problem("dragon trian --solver x") == "no command trian"
    assert problem("dragon train --sovler x") == "no option --sovler"
    assert list(shown("text\n\n    dragon train --solver x \\\n      --seed 1  # why\n\nand `dragon lint a`")) == [
        "dragon train --solver x --seed 1",
        "dragon lint a",
    ]
