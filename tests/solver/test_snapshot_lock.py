"""Snapshots: their folder is checked before training, and one run at a time writes them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from dragon.errors import NumericError, UsageError, WeightsError
from dragon.solver.solver import Observer, Solver
from tests.helpers import toy_solver


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    solver = toy_solver(snapshot_prefix=str(tmp_path / "file" / "x"), max_iter=3, snapshot_after_train=True)
    with pytest.raises(WeightsError, match=r"snapshots cannot be written to .*file.? is a file, not a folder"):
        solver.solve()
    assert solver.iter == 0


@pytest.mark.parametrize("name", ["x_iter_3.caffemodel", "x_iter_2.solverstate"])
def test_a_folder_with_the_name_of_a_snapshot_is_found_before_training(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "x_iter_1.caffemodel").mkdir()  # no snapshot is due then
    solver = toy_solver(snapshot_prefix=str(tmp_path / "x"), max_iter=3, snapshot=2, snapshot_after_train=True)
    with pytest.raises(WeightsError, match=f"{name} is not a regular file"):
        solver.solve()
    assert solver.iter == 0


@pytest.mark.parametrize(("length", "max_iter"), [(226, 3), (227, 3), (225, 1000)])
def test_a_prefix_that_is_too_long_is_found_before_training(tmp_path: Path, length: int, max_iter: int) -> None:
    prefix = str(tmp_path / ("x" * length))
    solver = toy_solver(snapshot_prefix=prefix, max_iter=max_iter, snapshot_after_train=True)
    if length == 226:
        solver.solve()
        assert Path(f"{prefix}_iter_3.solverstate").is_file()
        return
    with pytest.raises(WeightsError, match="File name too long"):
        solver.solve()
    assert solver.iter == 0


def test_without_snapshots_no_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    solver = toy_solver(snapshot_prefix=str(tmp_path / "file" / "x"), max_iter=2, snapshot_after_train=False)
    solver.solve()
    assert solver.iter == 2


def test_two_trainers_with_one_prefix(tmp_path: Path) -> None:
    class Second(Observer):
        message = ""
        failure: BaseException | None = None

        def on_start(self, solver: Solver) -> None:
            other = toy_solver(tmp_path, max_iter=1, snapshot_after_train=True)
            with pytest.raises(UsageError) as caught:
                other.solve()
            self.message = str(caught.value)
            self.failure = other.failure

    first, second = toy_solver(tmp_path, max_iter=1, snapshot_after_train=True), Second()
    first.observers.append(second)
    first.solve()
    assert "are being written by process" in second.message
    assert "choose another snapshot_prefix" in second.message
    assert isinstance(second.failure, UsageError)
    toy_solver(tmp_path, max_iter=1, snapshot_after_train=True).solve()  # the first one has ended
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("how", ["step", "snapshot"])
def test_a_script_writes_no_snapshot_while_another_run_does(tmp_path: Path, how: str) -> None:
    class Script(Observer):
        message = ""

        def on_start(self, solver: Solver) -> None:
            other = toy_solver(tmp_path, max_iter=9, snapshot=1, snapshot_after_train=True)
            with pytest.raises(UsageError) as caught:
                other.step(1) if how == "step" else other.snapshot()
            self.message = str(caught.value)
            solver.snapshot()  # the run that holds the lock may

    first, script = toy_solver(tmp_path, max_iter=1, snapshot_after_train=True), Script()
    first.observers.append(script)
    first.solve()
    assert "are being written by process" in script.message
    other = toy_solver(tmp_path, max_iter=9, snapshot=1)
    other.step(2)
    assert (tmp_path / "toy_iter_2.solverstate").is_file()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = [
        ".toy_iter_0.solverstate.ab12cd34",
        ".toy_iter_3.caffemodel.ab12cd34",
        ".toy_iter_12.solverstate.h5.ab12cd_4",
    ]
    others = [".toy_iter_3.caffemodel", ".other_iter_3.caffemodel.ab12cd34", "toy_iter_3.caffemodel.ab12cd34"]
    for name in left + others:
        (tmp_path / name).write_text("half")
    with caplog.at_level(logging.WARNING, "dragon"):
        toy_solver(tmp_path, max_iter=1, snapshot_after_train=True).solve()
    assert sorted(m.split("removed ")[1].split(",")[0] for m in caplog.messages) == sorted(
        str(tmp_path / name) for name in left
    )
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in others)


def test_a_diverged_run_says_what_may_help_and_names_the_last_snapshot(tmp_path: Path) -> None:
    class Blow(Observer):
        def on_snapshot(self, solver: Solver, model: str, state: str) -> None:
            solver.net.params["ip"][0].data[...] = np.inf

    solver = toy_solver(tmp_path, max_iter=9, snapshot=2, base_lr=0.125)
    solver.observers.append(Blow())
    with np.errstate(all="ignore"), pytest.raises(NumericError) as caught:
        solver.solve()
    assert "a lower base_lr than 0.125 or clip_gradients may help" in str(caught.value)
    assert f"the last snapshot is {tmp_path}/toy_iter_2.solverstate" in str(caught.value)
    assert solver.failure is caught.value


def test_a_test_output_that_is_not_finite_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    solver = toy_solver(tmp_path, max_iter=4, test_interval=1, test_iter=[1], test_initialization=False)
    net = solver.test_nets[0]
    net.output_values = lambda: {"acc": np.array(np.nan)}  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "dragon"):
        solver.solve()
    assert solver.iter == 4
    assert [m for m in caplog.messages if "not finite" in m] == [
        'iteration 1: test output "acc" is not finite; first in no blob of the last batch'
    ]
