"""What the fuzzer of command lines draws, and what it takes for a fault."""

from __future__ import annotations

import random

import click
import pytest

from dragon.tools.main import COMMANDS, cli
from tests.fuzz.commands import command_line, judge

ERROR = "dragon: error: no\n"


@pytest.mark.parametrize(
    ("line", "status", "errors"),
    [
        (["train"], 1, ERROR),
        (["train"], 1, ""),
        (["train"], -11, ""),
        (["train"], 2, ""),
        (["train"], 2, ERROR * 2),
        (["train"], 0, ERROR),
        (["train"], 2, f"Traceback (most recent call last):\n{ERROR}"),
        (["run", "s.py"], 1, ERROR),
    ],
)
def test_faults(line: list[str], status: int, errors: str) -> None:
    with pytest.raises(AssertionError, match=f"status {status}"):
        judge(line, status, errors)


@pytest.mark.parametrize(
    ("line", "status", "errors"),
    [
        (["train"], 0, "dragon: warning: x\n"),
        (["train"], 2, f"dragon: warning: x\n{ERROR}"),
        (["train"], 130, "dragon: interrupted\n"),
        (["train", "--debug"], 2, f"Traceback (most recent call last):\n{ERROR}"),
        (["run", "s.py"], 1, "Traceback (most recent call last):\n"),
        (["lint", "n"], 1, ""),
    ],
)
def test_right_ends(line: list[str], status: int, errors: str) -> None:
    judge(line, status, errors)


def test_every_command_and_flag_is_drawn() -> None:
    context = click.Context(cli)
    commands = {name: command for name in COMMANDS if (command := cli.get_command(context, name)) is not None}
    chance = random.Random(1)
    lines = [command_line(commands, ["net.prototxt", "w.caffemodel"], chance) for _ in range(30_000)]
    for name, command in commands.items():
        words = {word.partition("=")[0] for line in lines if line[:1] == [name] for word in line}
        for param in command.params:
            if isinstance(param, click.Option):
                assert words & set(param.opts), f"{name}: {param.opts}"
