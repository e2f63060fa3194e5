"""Flags as they were given: for ranks that a command starts, and for hints of what to run next."""

from __future__ import annotations

import click
import pytest

from dragon.tools.common.repeat import RememberingCommand, repeated_flags
from dragon.tools.train import command as train


@pytest.mark.parametrize(
    "words",
    [
        "--solver a.prototxt --resume --ranks 2",
        "--solver a.prototxt --resume runs/a/1",
        "--solver a.prototxt --run --no-run --set base_lr=1 --set gamma=2",
        "--resume",
    ],
)
def test_flags_come_back_as_they_were_given(words: str) -> None:
    assert isinstance(train, RememberingCommand)
    given = words.split()
    with click.Context(train, info_name="train") as context:
        train.parse_args(context, list(given))
        again = repeated_flags(context, ())
    assert sorted(again) == sorted(given)
    assert [word for word in again if "=" in word] == [word for word in given if "=" in word]
    with click.Context(train, info_name="train") as other:
        train.parse_args(other, list(again))
    assert other.params == context.params
