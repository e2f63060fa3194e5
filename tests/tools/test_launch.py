"""How many ranks --ranks and --gpu start, and what contradicts mpirun."""

from __future__ import annotations

import click
import pytest

from dragon.errors import UsageError
from dragon.tools.common import engine_options, launch
from dragon.tools.common.engine_options import EngineChoice
from dragon.tools.common.launch import RanksChoice


@pytest.mark.parametrize(
    ("flags", "gpu", "wanted", "left"),
    [
        (RanksChoice(), None, None, None),
        (RanksChoice(4), None, 4, None),
        (RanksChoice(1), None, None, None),
        (RanksChoice(restarts=2), None, 1, None),
        (RanksChoice(), "1", None, "1"),
        (RanksChoice(), "0,2", 2, "0,2"),
        (RanksChoice(16), "0,2", 16, "0,2"),
        (RanksChoice(), "all", 3, "all"),
    ],
)
def test_how_many_ranks_are_started(
    monkeypatch: pytest.MonkeyPatch, flags: RanksChoice, gpu: str | None, wanted: int | None, left: str | None
) -> None:
    monkeypatch.setattr(engine_options, "gpu_count", lambda: 3)
    assert flags._wanted(EngineChoice(gpu=gpu)) == (wanted, EngineChoice(gpu=left))


def test_all_of_one_gpu_is_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_options, "gpu_count", lambda: 1)
    assert RanksChoice()._wanted(EngineChoice(gpu="all")) == (None, EngineChoice(gpu="0"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (RanksChoice(4), "--ranks 4 contradicts mpirun, which has started 2 processes"),
        (RanksChoice(restarts=1), "--restart needs ranks that dragon starts itself"),
        (RanksChoice(job='{"ranks": 3}'), "mpiexec was to start 3 processes, but this one finds 2"),
    ],
)
def test_what_contradicts_the_processes_that_were_started(
    monkeypatch: pytest.MonkeyPatch, flags: RanksChoice, said: str
) -> None:
    monkeypatch.setattr(launch, "started_count", lambda: 2)
    with pytest.raises(UsageError, match=said):
        flags.start(click.Context(click.Command("train")), EngineChoice(), None)


def test_the_hidden_flag_is_checked() -> None:
    with pytest.raises(click.UsageError, match="--job is set by --ranks alone"):
        RanksChoice(job="3")
