"""A stop during a test: a run that resumes tests the same batches again."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from dragon.memory.storage import Array
from tests.helpers import toy_solver


def test_a_stop_during_a_test_leaves_the_test_position(tmp_path: Path) -> None:
    """The resumed run tests the batches that the whole one would have tested."""
    from dragon.solver.solver import Observer, Solver

    settings: dict[str, Any] = {"test_interval": 2, "test_iter": [3], "test_initialization": False}
    draws: list[list[int]] = []
    for stop in (False, True):
        solver = toy_solver(tmp_path, **settings)

        class Stop(Observer):
            def on_test_batch(self, solver: Solver, index: int, done: int, total: int) -> None:
                if done == 2:
                    solver.request("stop")

        if stop:
            solver.observers.append(Stop())
        solver.step(3)
        net = solver.test_nets[0]
        draws.append([layer.rng.draws for layer in net.layers])
        if stop:
            assert solver.stopped
            assert draws[1] == [0] * len(draws[1])
    assert any(draws[0]), "the test net draws nothing, so this test shows nothing"


@pytest.mark.parametrize("when", ["first net", "second net", "just after"])
def test_a_stop_during_a_test_leaves_the_positions_of_all_test_nets(tmp_path: Path, when: str) -> None:
    """Whichever net is tested when the stop comes, the resumed run tests all nets from where the pass began."""
    from dragon.solver.solver import Observer, Solver

    class Stop(Observer):
        def on_test_batch(self, solver: Solver, index: int, done: int, total: int) -> None:
            if when != "just after" and solver.iter == 4 and index == (when == "second net") and done == 2:
                solver.request("stop")

        def on_test(self, solver: Solver, index: int, scores: OrderedDict[str, Array]) -> None:
            if when == "just after" and solver.iter == 4 and index == 1:
                solver.request("stop")

    def positions(solver: Solver) -> list[object]:
        return [(layer.rng.draws, layer.state()) for net in solver.test_nets for layer in net.layers]

    settings: dict[str, Any] = {"test_interval": 2, "test_iter": [3, 3], "test_initialization": False}
    whole, stopped = toy_solver(tmp_path, **settings), toy_solver(tmp_path, **settings)
    stopped.observers.append(Stop())
    whole.step(4)
    stopped.step(6)
    assert stopped.stopped
    assert stopped.iter == 4
    assert positions(stopped) == positions(whole)
    assert any(draws for net in whole.test_nets for draws in [layer.rng.draws for layer in net.layers])
