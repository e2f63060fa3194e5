"""Numbers on the command line that are out of range: refused by their flag, before anything is done."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from dragon.tools.main import COMMANDS, cli
from tests.tools.conftest import Dragon

HUGE = ("99999999999999999999", "-99999999999999999999", "1e9", "nan", "", "0x10")


def _integers() -> list[tuple[str, str]]:
    found = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = [param for param in command.params if isinstance(param, click.Option)]
        found += [(name, option.opts[0]) for option in options if isinstance(option.type, click.types.IntParamType)]
    return found


@pytest.mark.parametrize(
    ("name", "flag"), [pair for pair in _integers() if pair[1] != "--seed" or not pair[0].startswith("convert-")]
)
def test_every_whole_number(dragon: Dragon, name: str, flag: str) -> None:
    for text in HUGE:
        result = dragon(name, f"{flag}={text}")
        assert result.code == 2
        assert flag in result.error, text


def _reals() -> list[tuple[str, str]]:
    found = [("zoo download lenet", "--timeout")]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        options = [param for param in command.params if isinstance(param, click.Option)] if command else []
        found += [(name, option.opts[0]) for option in options if isinstance(option.type, click.types.FloatParamType)]
    return found


@pytest.mark.parametrize(("name", "flag"), _reals())
def test_every_number_is_finite(dragon: Dragon, name: str, flag: str) -> None:
    for text in ("nan", "inf", "-1e999"):
        result = dragon(*name.split(), f"{flag}={text}")
        assert result.code == 2
        assert flag in result.error, text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --solver s --level 3000000000", "3000000000 is not in the range -2147483648<=x<=2147483647"),
        ("test --model n --weights w --level -3000000000", "-3000000000 is not in the range"),
        ("train --solver s --iterations 2147483648", "2147483648 is too large, the most is 2147483647"),
        ("data synthetic --seed 9223372036854775808", "9223372036854775808 is too large"),
        ("train --solver s --seed -1", "-1 is not in the range x>=0"),
        ("summarize lenet --input-shape 9223372036854775808,1,28,28", "--input-shape takes numbers like 1,3,32,32"),
        ("export --model lenet --shape 9223372036854775808,1,28,28 --onnx x", "--shape takes numbers like 1,3,32,32"),
        ("compare ulp --seeds abc", "'abc' is not a whole number"),
        ("plot x --chance abc", "'abc' is not a number"),
    ],
)
def test_the_edges(dragon: Dragon, line: str, words: str) -> None:
    result = dragon(*line.split())
    assert result.code == 2
    assert words in result.error


def test_the_largest_seed(dragon: Dragon, tmp_path: Path) -> None:
    result = dragon(
        "data", "synthetic", "--dir", str(tmp_path), "--train", "2", "--test", "2", "--seed", str(2**63 - 1)
    )
    assert result.code == 0, result.err
