"""Nets that normalise over the rows of all ranks, and run on one rank alone: an error instead of waiting for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from dragon.data.synthetic import write_synthetic
from dragon.parallel.ranks import AloneError, Ranks
from dragon.solver.observer import Guarded
from tests.parallel.test_train import BN, needs_mpi, run, solver, train

RUNS = """
import dragon
class Runs(dragon.Observer):
    def on_{event}(self, solver, *_): solver.net.run_forward()
"""
# a callback of rank 0 alone, then one of all ranks
SCRIPT = """
import sys
from mpi4py import MPI
from dragon.parallel.ranks import AloneError, Ranks
from dragon.solver.types import get_solver

ranks = Ranks(MPI.COMM_WORLD)
for alone in (False, True):
    solver = get_solver(sys.argv[1], engine="numpy", seed=3, verbose=False, ranks=ranks, sync_bn=True)
    if not alone or ranks.leads:
        solver.add_callback(on_start=solver.net.run_forward)
    try:
        solver.step(2)
        print(f"rank {ranks.rank}: trained", flush=True)
    except AloneError as error:
        print(f"rank {ranks.rank}: {error}", flush=True)
    solver.close()
"""


class Several(Ranks):
    """Rank 0 of three, without MPI; `stepping_too` others are in a training step."""

    def __init__(self, stepping_too: int) -> None:
        self.rank, self.size, self.stepping, self.alone, self.on_gpu = 0, 3, False, "", None
        self._others = stepping_too

    def _reduce(self, values: Any, wire: Any, mean: bool) -> None:
        values *= 3
        values[-1] = self.stepping + self._others


@pytest.mark.parametrize(("stepping", "others"), [(True, 2), (False, 0)])
def test_ranks_that_run_together(stepping: bool, others: int) -> None:
    ranks, values = Several(others), np.ones(2)
    ranks.stepping = stepping
    ranks.total(values)
    np.testing.assert_array_equal(values, [3, 3])


@pytest.mark.parametrize(("stepping", "others"), [(True, 1), (True, 0), (False, 2), (False, 1)])
def test_ranks_that_do_not(stepping: bool, others: int) -> None:
    ranks = Several(others)
    ranks.stepping = stepping
    with pytest.raises(AloneError, match="a callback or a script runs the train net on some ranks alone; use another"):
        ranks.total(np.ones(2))


def test_an_observer_of_the_command_line_is_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Adds(dragon.Observer):
        def on_start(self, solver: Any) -> None:
            solver.ranks.total(np.ones(2))

    ranks = Several(2)
    solver: Any = type("Some", (), {"ranks": ranks})()
    Guarded(Adds(), "adds").on_start(solver)
    (record,) = caplog.records
    assert "observer adds runs the train net on rank 0 alone" in record.getMessage()
    assert not ranks.alone


@needs_mpi
@pytest.mark.parametrize("event", ["iteration", "display", "snapshot", "end"])
def test_training_goes_on_without_the_observer(tmp_path: Path, event: str) -> None:
    lmdb = write_synthetic(tmp_path / "drawn", train=170, test=10).train
    (tmp_path / "runs.py").write_text(RUNS.format(event=event))
    done = train(
        2, solver(tmp_path / "run", lmdb, 10, BN), "--sync-bn", "--observer", "runs:Runs", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if "runs:Runs failed" in line]
    assert len(said) == 1
    assert "observer runs:Runs runs the train net on rank 0 alone; use another net there" in said[0]


@needs_mpi
def test_a_callback_of_one_rank_ends_all(tmp_path: Path) -> None:
    lmdb = write_synthetic(tmp_path / "drawn", train=170, test=10).train
    path = solver(tmp_path / "run", lmdb, 10, BN, display=0, snapshot=0)
    said = run(2, "-c", SCRIPT, path)
    for rank in (0, 1):
        assert f"rank {rank}: trained" in said
        assert (
            f'rank {rank}: layer "bn" (BN): batch normalisation over the rows of all ranks needs all ranks: a callback'
            in said
        )
