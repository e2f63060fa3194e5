from __future__ import annotations

from pathlib import Path

import click
import pytest

from dragon.tools.common.arguments import normalise, plain_booleans
from dragon.tools.main import COMMANDS, cli
from tests.tools.conftest import Dragon


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["train", "-solver", "s"], ["train", "--solver", "s"]),
        (["-solver=s_1.prototxt"], ["--solver=s_1.prototxt"]),
        (["--sigint_effect=stop", "-sighup_effect", "none"], ["--sigint-effect=stop", "--sighup-effect", "none"]),
        (["--output", "my_dir", "-gpu", "0"], ["--output", "my_dir", "--gpu", "0"]),
        (["--seed", "-1", "-h"], ["--seed", "-1", "-h"]),
        (["-logtostderr=1", "--alsologtostderr", "-v=2", "train"], ["train"]),
        (["--", "-solver"], ["--", "-solver"]),
    ],
)
def test_spelling(given: list[str], expected: list[str]) -> None:
    assert normalise(given) == (expected, False)


def test_debug_may_stand_anywhere() -> None:
    assert normalise(["train", "-debug", "-solver", "s"]) == (["train", "--solver", "s"], True)
    assert normalise(["train", "--", "--debug"]) == (["train", "--", "--debug"], False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["-gray"], ["--gray"]),
        (["--gray=true"], ["--gray"]),
        (["-gray=1", "-shuffle=YES"], ["--gray", "--shuffle"]),
        (["--gray=false", "-shuffle=0", "-encoded=no"], []),
        (["-nogray"], []),
        (["--nogray=false"], ["--gray"]),
        (["-gray", "-nogray"], []),
        (["-gray=false", "a", "-gray"], ["--gray", "a"]),
        (["-check_size=t", "root"], ["--check-size", "root"]),
        (["--backend", "--gray", "--seed=1"], ["--backend", "--gray", "--seed=1"]),
        (["--", "--gray=true"], ["--", "--gray=true"]),
    ],
)
def test_booleans(given: list[str], expected: list[str]) -> None:
    """As gflags writes them; the last one counts, and the value of another flag is left alone."""
    command = cli.get_command(click.Context(cli), "convert_imageset")
    assert command is not None
    assert plain_booleans(command, click.Context(command), normalise(given)[0]) == expected


@pytest.mark.parametrize("form", ["-fuse=false", "-nofuse", "-nofuse=1", "--no_fuse=true", "--no-fuse", "-nono_fuse=0"])
def test_a_flag_whose_own_name_is_negative(form: str) -> None:
    command = cli.get_command(click.Context(cli), "time")
    assert command is not None
    assert plain_booleans(command, click.Context(command), normalise([form])[0]) == ["--no-fuse"]
    assert plain_booleans(command, click.Context(command), normalise([form, "-fuse"])[0]) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_boolean_of_every_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    context = click.Context(command)
    for param in command.get_params(context):
        for flag in param.opts if isinstance(param, click.Option) and param.is_flag else ():
            if not flag.startswith("--"):
                continue
            for form, holds in ((flag, 1), (flag + "=true", 1), (flag + "=N", 0), ("--no" + flag[2:], 0)):
                assert plain_booleans(command, context, [form]) == [flag] * holds, form


def test_a_value_that_is_neither_true_nor_false(dragon: Dragon) -> None:
    result = dragon("convert_imageset", "-gray=maybe", "root", "list", "db")
    assert (result.code, result.error) == (2, '--gray is true or false, got "maybe"')


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["train", "-solver="], "--solver"),
        (["train", "--solver", "s.prototxt", "--resume", ""], "--resume"),  # may stand alone, which is another thing
        (["train", "--solver", "s.prototxt", "--output", "", "--iterations", "1"], "--output"),
        (["test", "--model=m.prototxt", "--weights", ""], "--weights"),
        (["plot", "run", "--out="], "--out"),
    ],
)
def test_an_empty_value_is_that_of_an_unset_variable(dragon: Dragon, words: list[str], flag: str) -> None:
    result = dragon(*words)
    assert (result.code, result.out) == (2, "")
    assert result.error == f"{flag} has an empty value: give one, or leave the flag out"


def test_what_follows_the_name_of_a_script_is_its_own(dragon: Dragon, tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text("import sys; print(sys.argv[1:])")
    assert dragon("run", str(script), "-nohelp", "--help=false").out == "['-nohelp', '--help=false']\n"


@pytest.mark.parametrize(("given", "debug"), [("-debug=true", True), ("--debug=0", False), ("-nodebug", False)])
def test_debug_as_a_boolean(given: str, debug: bool) -> None:
    assert normalise([given, "train"]) == (["train"], debug)
