"""The times of ranks by phase: the plot, and the warning of a slow rank."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dragon.parallel.exchange import Phases
from dragon.tools.common.phases import read_phases
from dragon.tools.observers.stragglers import Stragglers
from tests.tools.conftest import Dragon
from tests.tools.test_plot import here, texts

__all__ = ["here"]


def display(iteration: int, **times: Any) -> str:
    return json.dumps({"event": "display", "iteration": iteration, "time": 1.0, "loss": 1.0, **times}) + "\n"


def metrics(folder: Path) -> None:
    folder.mkdir()
    (folder / "metrics.jsonl").write_text(
        display(0, read_ms=[1, 1], compute_ms=[500, 500], wait_ms=[0, 0])
        + display(10, read_ms=[0, 2], compute_ms=[10, 14], wait_ms=[5, 1])
        + display(20)  # of a session of one process
        + display(30, read_ms=[2, 4], compute_ms=[12, 16], wait_ms=[7, 3])
    )


def test_times_without_those_of_the_first_display(tmp_path: Path) -> None:
    metrics(tmp_path / "run")
    phases = read_phases(tmp_path / "run")
    assert phases.iterations == [0, 10, 30]
    assert [phases.means(name) for name in ("read", "compute", "wait")] == [[1, 3], [11, 15], [6, 2]]


def test_the_plot(here: Path, dragon: Dragon) -> None:
    metrics(here / "run")
    assert dragon("plot", "run", "--ranks", "--out", "ranks.svg").out == "ranks.svg: read, compute, wait\n"
    found = set(texts(here / "ranks.svg"))
    assert {"run", "rank", "ms of an iteration", "read", "compute", "wait", "rank 0", "rank 1", "iteration"} <= found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "run"], "--ranks plots one run, got 2"),
        (["plain"], "no times of several ranks are recorded in it"),
        (["broken"], "no times of several ranks are recorded in it"),
    ],
)
def test_what_cannot_be_plotted(here: Path, dragon: Dragon, words: list[str], said: str) -> None:
    metrics(here / "run")
    for name, times in (("plain", {}), ("broken", {"read_ms": [1], "compute_ms": [1, 2], "wait_ms": "x"})):
        (here / name).mkdir()
        (here / name / "metrics.jsonl").write_text(display(0, **times))
    done = dragon("plot", *words, "--ranks")
    assert done.code == 2
    assert said in done.err
    assert not (here / "curves.png").exists()


def watched(caplog: pytest.LogCaptureFixture, *displays: list[float]) -> list[str]:
    observer = Stragglers()
    with caplog.at_level(logging.WARNING):
        for own in displays:
            phases = [Phases(read=ms / 4, compute=ms * 3 / 4, wait=0.0) for ms in own]
            observer.on_display(SimpleNamespace(phases=phases), 0.0, 0.1)  # type: ignore[arg-type]
    return [record.getMessage() for record in caplog.records]


def test_a_slow_rank_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    slow = [8.0, 8.2, 12.0, 8.2]
    said = watched(caplog, [9, 9, 9, 9], *[slow] * 6)
    assert said == [
        "the other ranks wait for rank 2: it reads and computes for 12.0 ms an iteration, they for 8.2; "
        "dragon plot --ranks shows all"
    ]


@pytest.mark.parametrize(
    "displays",
    [
        [[8, 90], *[[8, 9]] * 5],  # the first display
        [[8, 8], *[[8, 12], [8, 12], [8, 8]] * 3],  # now and then
        [[0.1, 0.1], *[[0.1, 0.3]] * 5],  # less than a millisecond
        [[8, 8], *[[]] * 5],  # no iteration since the display before
    ],
)
def test_ranks_that_are_not_slow(caplog: pytest.LogCaptureFixture, displays: list[list[float]]) -> None:
    assert watched(caplog, *displays) == []
