"""The flags for nets of commands that take --solver in place of --model."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon.errors import UsageError
from dragon.proto import dragon_pb2 as pb
from dragon.proto.definition import Definition
from tests.tools.conftest import Dragon

LAYER = """layer {
  name: "another" type: "InnerProduct" bottom: "ip" top: "another" include { stage: "more" min_level: 2 }
  inner_product_param { num_output: 2 }
}
"""
COMMANDS = ["time --iterations 1", "probe --probe weight_norm"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["", "--set base_lr=0.5"])
def test_level_and_stages_are_those_of_the_trained_net(work: Path, dragon: Dragon, command: str, flag: str) -> None:
    with (work / "net.prototxt").open("a") as file:
        file.write(LAYER)
    line = [*command.split(), "--solver", "solver.prototxt", *flag.split()]
    assert "\nanother" not in dragon(*line).out
    assert "\nanother" not in dragon(*line, "--stage", "more").out
    result = dragon(*line, "--stage", "more,others", "--level", "2")
    assert result.code == 0, result.err
    assert "\nanother" in result.out


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("file", ["solver.prototxt", "net.prototxt"])
def test_unknown_fields_may_be_allowed(work: Path, dragon: Dragon, command: str, file: str) -> None:
    with (work / file).open("a") as text:
        text.write("no_such_field: 1\n")
    line = [*command.split(), "--solver", "solver.prototxt"]
    assert 'has no field "no_such_field"' in dragon(*line).error
    result = dragon(*line, "--allow-unknown")
    assert result.code == 0, result.err
    assert 'has no field "no_such_field"; skipped' in result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_profile_is_that_of_the_solver(
    work: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def told(definition: Definition[pb.SolverParameter], **settings: object) -> None:
        raise UsageError(f"profile {definition.message.profile}")

    monkeypatch.setattr(f"dragon.tools.{command.split()[0]}.get_solver", told)
    line = [*command.split(), "--solver", "solver.prototxt", "--profile", "neopenx"]
    assert dragon(*line).error == "profile neopenx"
