from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click
import pytest

from dragon import compare as comparisons
from dragon.tools import main
from dragon.version import __version__
from tests.tools.conftest import Dragon, Start


def test_help_lists_every_command_and_each_can_be_loaded(dragon: Dragon) -> None:
    result = dragon("--help")
    assert result.code == 0
    context = click.Context(main.cli)
    for name in main.COMMANDS:
        assert name in result.out
        command = main.cli.get_command(context, name)
        assert isinstance(command, click.Command)
        assert command.help, name


def test_help_without_arguments(dragon: Dragon) -> None:
    result = dragon()
    assert (result.code, "Commands:" in result.out) == (0, True)


def test_version(dragon: Dragon) -> None:
    assert dragon("--version").out == f"dragon {__version__}\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trian"], 'unknown command "trian" (did you mean "train"?)'),
        (["qqq"], 'unknown command "qqq"; `dragon --help` lists them'),
        (["bn", "qqq"], 'unknown command "qqq"; `dragon bn --help` lists them'),
        (["layers", "qqq"], 'unknown layer type "qqq"; `dragon layers` lists them'),
        (["train", "--solvr", "x"], "--solver"),
        (["train"], "--solver"),
        (["time", "--model", "a", "--solver", "b"], "either --model or --solver"),
        (["data", "cifar11"], "cifar10"),
        (["data", "mnist", "--train", "3"], "synthetic data only"),
        (["layers", "Convultion"], 'did you mean "Convolution"?'),
        (["test", "--model", "a", "--weights", "b", "--iterations", "0"], "iterations"),
        (["train", "--solver", "a", "--weights", "w", "--snapshot", "s"], "not both"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(dragon: Dragon, args: list[str], words: str) -> None:
    result = dragon(*args)
    assert result.code == 2
    assert words in result.error


class Broken(click.Command):
    def __init__(self, error: BaseException) -> None:
        super().__init__("broken")
        self.error = error

    def invoke(self, ctx: click.Context) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (RuntimeError("odd"), 1, "RuntimeError: odd; this is a fault in Dragon, run again with --debug"),
        (PermissionError(13, "Permission denied", "/nowhere/x"), 2, "/nowhere/x: Permission denied"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (MemoryError("4 GiB"), 2, "out of memory"),
    ],
)
def test_unexpected_errors(
    dragon: Dragon, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, words: str
) -> None:
    monkeypatch.setattr(main.Commands, "get_command", lambda *_: Broken(error))
    result = dragon("broken")
    assert result.code == code
    assert words in result.error
    assert "Traceback" in dragon("broken", "--debug").err


def test_keyboard_interrupt(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main.Commands, "get_command", lambda *_: Broken(KeyboardInterrupt()))
    assert dragon("broken").code == 130


def test_an_interrupted_comparison_says_how_it_goes_on(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparisons, "compare", interrupted)
    result = dragon("compare", "lr_range")
    assert (result.code, result.out) == (130, "")
    assert result.err.split("\n", 1)[0] == "the same command goes on where this one stopped"
    assert result.err.endswith("dragon: interrupted\n")


def unread(start: Start, *words: str, errors: bool = False) -> subprocess.Popen[str]:
    """A command whose stdout, and with `errors` its stderr, is closed before it prints."""
    process = start(*words, before="print('up', flush=True); sys.stdin.readline()")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "up\n"
    process.stdout.close()
    if errors:
        process.stderr.close()
    process.stdin.close()
    return process


@pytest.mark.parametrize(
    "line",
    [
        "layers", "layers Convolution", "layers --json", "help train", "zoo list", "zoo show lenet", "device",
        "summarize --model net.prototxt", "time --model net.prototxt --iterations 1", "lint net.prototxt",
        "completion bash", "probe --list", "--version",
    ],
)  # fmt: skip
def test_a_reader_that_leaves_is_told_nothing(start: Start, line: str) -> None:
    process = unread(start, *line.split())
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_an_error_has_its_status_though_nobody_reads_it(start: Start) -> None:
    process = unread(start, "lint", "none.prototxt", errors=True)
    assert process.wait() == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(dragon: Dragon, shell: str) -> None:
    result = dragon("completion", shell)
    assert result.code == 0
    assert "_DRAGON_COMPLETE" in result.out


def test_bytes_that_are_no_text(dragon: Dragon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files are printed escaped; what must be text is refused in one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n.prototxt").write_text('layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 1 } } }')
    os.rename("n.prototxt", "\udcff.prototxt")
    result = dragon("summarize", "--model", "\udcff.prototxt")
    assert (result.code, result.err) == (0, "")
    result = dragon("summarize", "--model", "\udcff.prototxt", "--stage", "\udcfe")
    assert result.code == 2
    assert '"\\udcfe" is not UTF-8' in result.error
    assert dragon("upgrade", "\udcff.prototxt", "\udcfe.prototxt").code == 0


def test_streams_take_any_name(start: Start) -> None:
    process = start("lint", "\udcff", "caf\u00e9", before="sys.stdout.reconfigure(encoding='ascii', errors='strict')")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" not in errors


def test_an_argument_with_a_nul(dragon: Dragon) -> None:
    result = dragon("upgrade", "a\0b", "c")
    assert (result.code, result.error) == (2, "an argument holds a NUL")


def test_a_value_longer_than_a_path_may_be(dragon: Dragon) -> None:
    """Also where a hint is looked for."""
    assert "No such option" in dragon("draw", "--model", "y/" * 3000).error
