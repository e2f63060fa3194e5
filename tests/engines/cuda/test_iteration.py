"""Whole training iterations as one graph: what stays right in a replay, and what falls back by itself."""

from __future__ import annotations

import numpy as np
import pytest

from dragon.engines.cuda.device.gpu import open_gpu
from dragon.errors import DataError, NumericError
from dragon.solver.solver import Solver
from dragon.tools.time import _report as report
from tests.engines.cuda.emulation import standin
from tests.engines.cuda.python_layers import python
from tests.engines.cuda.running import compare
from tests.engines.cuda.test_engine import NET, TEXT, solver_of

needs_gpu = pytest.mark.usefixtures("cuda")
looks_inside = pytest.mark.usefixtures("emulated")
CAPTURED = 3  # steps after which an iteration is a graph


def state(solver: Solver) -> str:
    (line,) = [line for line in solver.net.executor.remarks() if line.startswith("whole iteration: ")]
    return line.removeprefix("whole iteration: ")


def weights(solver: Solver) -> list[np.ndarray]:
    return [p.blob.peek().copy() for p in solver.net.learnable]


@needs_gpu
def test_three_steps_until_it_is_a_graph() -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED - 1)
    assert state(solver) == "not captured yet"
    solver.step(1)
    assert state(solver) == "graph"


@needs_gpu
def test_what_a_script_sets_is_used_by_a_replay() -> None:
    solvers = [solver_of(engine, "momentum: 0.5 weight_decay: 0.1") for engine in ("numpy", "cuda")]
    for solver in solvers:
        solver.step(4)
        solver.param.momentum = 0.9  # part of the graph
        solver.step(2)
        solver.param.weight_decay = 0.3  # in a table
        solver.net.learnable[0].lr_mult = 0.1
        solver.step(1)
        solver.net.params["ip"][0].data[...] *= 0.5
        for blob in solver.updater.history[0]:
            blob.data[...] = 0
        solver.step(4)
    assert state(solvers[1]) == "graph"
    compare(solvers[1].net, solvers[0].net, "after", 2e-3, diffs=False)


@needs_gpu
def test_a_loss_that_is_not_finite_leaves_the_weights() -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED + 1)
    solver.net.params["ip"][1].data[0] = np.nan
    before = weights(solver)
    with pytest.raises(NumericError, match="loss"):
        solver.step(1)
    for a, b in zip(before, weights(solver), strict=True):
        np.testing.assert_array_equal(a, b)


@needs_gpu
def test_a_label_that_is_no_class_leaves_the_weights() -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED + 1)
    before = weights(solver)
    solver.net.blobs["label"].data[2] = 9
    with pytest.raises(DataError, match="label 9 at position"):
        solver.step(1)
    assert all((a == b).all() for a, b in zip(before, weights(solver), strict=True))
    solver.net.blobs["label"].data[2] = 1
    solver.step(1)
    assert any((a != b).any() for a, b in zip(before, weights(solver), strict=True))


@looks_inside
def test_a_kernel_that_dies_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    solver.step(CAPTURED)
    gpu = open_gpu(0)

    def fault(_: object) -> None:
        raise standin.CUDARuntimeError("an illegal memory access was encountered")

    answers = [600, 600, 700]  # not ready, not ready, illegal address
    monkeypatch.setattr(standin.Graph, "launch", lambda *_: None)
    monkeypatch.setattr(standin.Stream, "synchronize", fault)
    monkeypatch.setattr(gpu.cupy.cuda.runtime, "streamQuery", lambda _: answers.pop(0))
    with pytest.raises(standin.CUDARuntimeError, match="illegal memory access"):
        solver.step(1)


@looks_inside
def test_whoever_looks_between_gradients_and_update_gets_parts() -> None:
    solvers = [solver_of(engine, "momentum: 0.9 display: 2") for engine in ("numpy", "cuda")]
    for solver in solvers:
        solver.step(8)
    assert state(solvers[1]) == "graph"
    seen = []
    solvers[1].add_callback(on_gradients_ready=lambda: seen.append(solvers[1].net.params["ip"][0].diff.any()))
    before = standin.counts.copy()
    for solver in solvers:
        solver.step(2)
    assert seen == [True, True]
    assert (standin.counts - before)["graph launches"] == 4  # forward and backward, twice
    compare(solvers[1].net, solvers[0].net, "after", 2e-3, diffs=False)


@needs_gpu
def test_dragon_time_tells_how_iterations_run(capsys: pytest.CaptureFixture[str]) -> None:
    solver = solver_of("cuda", "momentum: 0.9")
    report(solver.net, solver, 1, backward=True)
    printed = capsys.readouterr().out
    assert "Average iteration in one go: " in printed
    assert "whole iteration: graph\n" in printed
    solver = solver_of("cuda", "momentum: 0.9", TEXT + 'layer { name: "best" type: "ArgMax" bottom: "ip" top: "best" }')
    report(solver.net, solver, 1, backward=True)
    printed = capsys.readouterr().out
    assert "in one go" not in printed
    assert "whole iteration: in parts: best runs by array code\n" in printed


def test_a_host_layer_in_the_middle(cuda: None) -> None:
    text = TEXT.replace('bottom: "drop" top: "ip"', 'bottom: "twice" top: "ip"').replace(
        'layer { name: "ip"', python("twice", "Twice", "drop", "twice") + 'layer { name: "ip"'
    )
    solvers = [solver_of(engine, "momentum: 0.9", text) for engine in ("numpy", "cuda")]
    for solver in solvers:
        solver.step(5)
    assert state(solvers[1]) == "in parts: twice runs by host"
    compare(solvers[1].net, solvers[0].net, "after", 2e-3, diffs=False)


def test_batches_that_change_their_shape(cuda: None) -> None:
    text = python("batches", "Batches", "", "data", "label", param_str="4 4 4 4 2") + NET
    solvers = [solver_of(engine, "momentum: 0.9", text, values={}) for engine in ("numpy", "cuda")]
    for _ in range(13):
        losses = [solver.step(1) for solver in solvers]
        assert abs(losses[0] - losses[1]) < 1e-3
    compare(solvers[1].net, solvers[0].net, "after", 5e-3, diffs=False)
