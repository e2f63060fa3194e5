"""The loss scale of fp16: it halves where gradients overflow, doubles after many good steps, is in snapshots."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from dragon.engines.cuda.plan.loss_scale import INITIAL, INTERVAL
from dragon.errors import NumericError
from dragon.solver.solver import Solver
from tests.engines.cuda.running import fill
from tests.engines.cuda.test_engine import VALUES
from tests.engines.cuda.test_precision import CAPTURED, graphs, scale_of, solver_of, weights

needs_gpu = pytest.mark.usefixtures("cuda")


def overflow(solver: Solver) -> None:
    """Make the next gradients overflow in 16 bits, while the loss stays finite."""
    solver.net.blobs["loss"].diff[...] = 1e6


@needs_gpu
@pytest.mark.parametrize("settings", ["momentum: 0.9", 'type: "Adam" momentum: 0.9', "momentum: 0.9 clip_gradients: 3"])
def test_an_overflow_skips_the_step_and_halves_the_scale(settings: str, caplog: pytest.LogCaptureFixture) -> None:
    solver = solver_of("fp16", settings)
    solver.step(CAPTURED + 1)
    assert graphs(solver)
    assert scale_of(solver) == {"loss_scale": INITIAL, "good_steps": CAPTURED + 1, "skipped_steps": 0}
    before = weights(solver)
    history = [blob.peek().copy() for slot in solver.updater.history for blob in slot]
    overflow(solver)
    with caplog.at_level(logging.INFO, logger="dragon"):
        solver.step(1)
        assert scale_of(solver) == {"loss_scale": INITIAL / 2, "good_steps": 0, "skipped_steps": 1}
        for a, b in zip(before, weights(solver), strict=True):
            np.testing.assert_array_equal(a, b)
        after = [blob.peek() for slot in solver.updater.history for blob in slot]
        for a, b in zip(history, after, strict=True):
            np.testing.assert_array_equal(a, b)
        solver.net.blobs["loss"].diff[...] = 1
        solver.step(1)
    assert "a step was skipped (1 in all); the loss scale is now 32768" in caplog.text
    assert graphs(solver)
    assert all((a != b).any() for a, b in zip(before, weights(solver), strict=True))
    assert scale_of(solver) == {"loss_scale": INITIAL / 2, "good_steps": 1, "skipped_steps": 1}
    assert any("Loss scale: 32768 after 1 good step in a row; 1 step skipped" in line
               for line in solver.net.executor.remarks())  # fmt: skip


@needs_gpu
def test_parts_of_an_iteration_skip_as_well() -> None:
    solver = solver_of("fp16", "momentum: 0.9 iter_size: 2")
    solver.step(4)
    assert not graphs(solver)
    before = weights(solver)
    overflow(solver)
    solver.step(1)
    assert all((a == b).all() for a, b in zip(before, weights(solver), strict=True))
    assert scale_of(solver)["skipped_steps"] == 1


@needs_gpu
def test_many_good_steps_double_the_scale() -> None:
    solver = solver_of("fp16")
    solver.step(CAPTURED + 1)
    solver.net.executor.load_state({"loss_scale": 1024, "good_steps": INTERVAL - 2, "skipped_steps": 3})
    solver.step(2)
    assert scale_of(solver) == {"loss_scale": 2048, "good_steps": 0, "skipped_steps": 3}
    assert graphs(solver)


@needs_gpu
def test_gradients_that_no_scale_can_help_end_the_run() -> None:
    solver = solver_of("fp16")
    solver.step(CAPTURED + 1)
    solver.net.executor.load_state({"loss_scale": 1})
    solver.net.blobs["loss"].diff[...] = 1e9
    with pytest.raises(NumericError, match="gradients are not finite in fp16"):
        solver.step(3)


@needs_gpu
@pytest.mark.parametrize("format", ["BINARYPROTO", "HDF5"])
def test_snapshots_keep_the_scale(tmp_path: Path, format: str) -> None:
    settings = f'momentum: 0.9 snapshot_prefix: "{tmp_path}/s" snapshot_format: {format}'
    solver = solver_of("fp16", settings)
    solver.step(4)
    overflow(solver)
    solver.step(1)
    solver.net.blobs["loss"].diff[...] = 1
    solver.step(2)
    path = solver.snapshot()
    other = solver_of("fp16", settings)
    other.restore(path)
    fill(other.net, VALUES)
    assert scale_of(other) == scale_of(solver) == {"loss_scale": 32768, "good_steps": 2, "skipped_steps": 1}
    for one in (solver, other):
        one.step(4)
    for a, b in zip(weights(other), weights(solver), strict=True):
        np.testing.assert_array_equal(a, b)
    plain = solver_of("fp32", settings)  # which knows no scale
    plain.restore(path)
    for a, b in zip(weights(plain)[:1], weights(solver)[:1], strict=True):
        assert a.dtype == b.dtype == np.float32
