"""Flags for engine and precision become options of a net."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from dragon.engines import Options
from dragon.engines.onednn.library.threads import usable_cores
from dragon.tools.common.engine_options import EngineChoice, engine_options
from dragon.tools.common.logs import log


def options_of(*flags: str) -> Options:
    """The options of a command that is given these flags."""
    found: list[Options] = []

    @click.command()
    @engine_options
    def command(choice: EngineChoice) -> None:
        found.append(choice.resolve()[1])

    CliRunner().invoke(command, flags, catch_exceptions=False)
    return found[0]


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        ([], {}),
        (["--precision", "bf16"], {"precision": "bf16"}),
        (["--precision", "int8", "--calibration", "t.yaml"], {"precision": "int8", "calibration": "t.yaml"}),
        (["--no-fuse"], {"fuse": False}),
        (["--no-winograd"], {"winograd": False}),
        (["--threads", "1"], {"threads": 1}),
        (["--tf32"], {"tf32": True}),
        (["--no-timed-plans"], {"timed_plans": False}),
        (["--no-channels-last"], {"channels_last": False}),
    ],
)
def test_flags(flags: list[str], changed: dict[str, object]) -> None:
    assert vars(options_of(*flags)) == {**vars(Options()), **changed}


def test_more_threads_than_cores_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    cores = usable_cores()
    with caplog.at_level("WARNING", log.name):
        options_of("--threads", str(cores))
        assert caplog.messages == []
        options_of("--threads", str(cores + 1))
    (message,) = caplog.messages
    assert message.startswith(f"--threads {cores + 1} on {cores} usable core")
