"""Solver: the loop's order, tests, smoothing, iter_size, requests, and definitions that cannot work."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragon
from tests.helpers import TRAINABLE, solver_param, toy_solver, weights_of


class Diary(dragon.Observer):
    """Writes down what happens."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.losses: list[float] = []
        self.rates: list[float] = []

    def on_start(self, solver: dragon.Solver) -> None:
        self.events.append(("start", solver.iter))

    def on_iteration(self, solver: dragon.Solver, loss: float, rate: float) -> None:
        self.losses.append(loss)
        self.rates.append(rate)

    def on_display(self, solver: dragon.Solver, loss: float, rate: float) -> None:
        self.events.append(("display", solver.iter))

    def on_test(self, solver: dragon.Solver, index: int, scores: OrderedDict[str, Any]) -> None:
        self.events.append(("test", solver.iter))

    def on_snapshot(self, solver: dragon.Solver, model: str, state: str) -> None:
        self.events.append(("snapshot", solver.iter))

    def on_end(self, solver: dragon.Solver) -> None:
        self.events.append(("end", solver.iter))


def watched(folder: Path | None = None, **settings: Any) -> tuple[dragon.Solver, Diary]:
    solver, diary = toy_solver(folder, **settings), Diary()
    solver.observers.append(diary)
    return solver, diary


def test_a_net_without_a_loss_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    toy_solver()
    assert not [m for m in caplog.messages if "no loss" in m]
    param = dragon.proto.dragon_pb2.SolverParameter(base_lr=1, lr_policy="fixed", max_iter=1)
    layer = param.train_net_param.layer.add(name="x", type="Input", top=["x"])
    layer.input_param.shape.add(dim=[2, 3])
    param.train_net_param.name = "n"
    dragon.Solver(param)
    assert [m for m in caplog.messages if "no loss" in m] == [
        'net "n" has no loss in TRAIN, so no weight gets a gradient'
    ]


def test_events_come_in_caffes_order(tmp_path: Path) -> None:
    settings = {"max_iter": 10, "display": 4, "test_interval": 5, "test_iter": [2], "snapshot": 6}
    solver, diary = watched(tmp_path, snapshot_after_train=True, **settings)
    solver.solve()
    assert diary.events == [
        ("start", 0),
        ("test", 0),
        ("display", 0),
        ("display", 4),
        ("test", 5),
        ("snapshot", 6),
        ("display", 8),
        ("snapshot", 10),
        ("test", 10),
        ("end", 10),
    ]


def test_test_initialization_can_be_switched_off() -> None:
    solver, diary = watched(max_iter=3, test_interval=2, test_iter=[1], test_initialization=False)
    solver.solve()
    assert [e for e in diary.events if e[0] == "test"] == [("test", 2)]


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_training_learns(engine: str) -> None:
    solver, diary = watched(engine=engine, max_iter=60)
    solver.solve()
    assert np.mean(diary.losses[-5:]) < 0.2 * diary.losses[0]


def test_smoothed_loss_is_the_mean_of_the_window() -> None:
    plain, every = watched(max_iter=6)
    plain.solve()
    smooth, mean = watched(max_iter=6, average_loss=3)
    smooth.solve()
    expected = [np.mean(every.losses[max(0, i - 2) : i + 1]) for i in range(6)]
    assert np.allclose(mean.losses, expected)


def test_iter_size_takes_the_mean_gradient_of_several_batches() -> None:
    solver = toy_solver(iter_size=3, momentum=0.0)
    net = solver.net
    before = weights_of(net)
    solver.step(1)
    moved = before["ip/1"] - weights_of(net)["ip/1"]
    again = toy_solver(momentum=0.0)
    gradients = []
    for _ in range(3):
        again.net.clear_param_diffs()
        again.net.forward_backward()
        gradients.append(again.net.params["ip"][1].diff.copy())
    assert np.allclose(moved, 0.05 * np.mean(gradients, axis=0), rtol=1e-4, atol=1e-7)


def test_clip_gradients_limits_the_norm_of_all_gradients() -> None:
    solver = toy_solver(clip_gradients=0.01, momentum=0.0, base_lr=1.0)
    before = weights_of(solver.net)
    solver.step(1)
    after = weights_of(solver.net)
    learned = {f"{p.layer}/{p.index}" for p in solver.net.learnable}
    norm = np.sqrt(sum(((before[k] - after[k]) ** 2).sum() for k in learned))
    assert norm == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("engine", ["numpy", "onednn"])
@pytest.mark.parametrize("limit", [math.inf, -math.inf, -1.0])
def test_gradients_are_not_clipped(engine: str, limit: float) -> None:
    """Caffe clips where the norm is larger than a limit that is not negative."""
    found = []
    for solver in (toy_solver(engine=engine), toy_solver(engine=engine, clip_gradients=limit)):
        with solver:
            solver.step(3)
            found.append(weights_of(solver.net))
    for name, values in found[0].items():
        np.testing.assert_array_equal(found[1][name], values)


def test_frozen_parameters_do_not_count_for_the_clipping() -> None:
    """Caffe computes no gradients for them."""
    steps = []
    for huge in (0.0, 1e6):
        solver = toy_solver(clip_gradients=0.01, momentum=0.0, base_lr=1.0)
        solver.updater.params[0].lr_mult = 0
        solver.net.clear_param_diffs()
        solver.net.forward_backward()
        solver.updater.params[0].blob.diff[...] += huge
        before = solver.net.params["ip"][0].peek().copy()
        solver.updater.apply(1.0, 0)
        steps.append(before - solver.net.params["ip"][0].peek())
    assert np.abs(steps[0]).max() > 1e-5
    np.testing.assert_array_equal(steps[0], steps[1])


@pytest.mark.parametrize(("kind", "expected"), [("L2", lambda w: 0.5 * w), ("L1", lambda w: 0.5 * np.sign(w))])
def test_regularisation_adds_to_the_gradient(kind: str, expected: Any) -> None:
    steps = []
    for decay in (0.0, 0.5):
        solver = toy_solver(weight_decay=decay, regularization_type=kind, momentum=0.0, base_lr=1.0)
        start = solver.net.params["conv"][0].peek().copy()
        solver.step(1)
        steps.append(start - solver.net.params["conv"][0].peek())
    assert np.allclose(steps[1] - steps[0], expected(start), atol=1e-5)


def test_the_test_net_sees_the_trained_weights_and_running_statistics() -> None:
    solver = toy_solver(max_iter=5, test_interval=100, test_iter=[2])
    solver.step(5)
    scores = solver.test()
    assert set(scores) == {"accuracy", "loss"}
    train, test = weights_of(solver.net), weights_of(solver.test_nets[0])
    assert all((train[k] == test[k]).all() for k in train)
    assert np.abs(test["bn/2"]).max() > 0


def test_a_test_net_has_weights_of_its_own_until_its_first_test() -> None:
    """As in Caffe: scripts set them, for example to score other weights, and training must not see it."""
    solver = toy_solver(max_iter=5, test_interval=100, test_iter=[1])
    before = weights_of(solver.net)
    for name in before:
        layer, _, index = name.rpartition("/")
        solver.test_nets[0].params[layer][int(index)].data[...] = 5
    assert all((weights_of(solver.net)[k] == before[k]).all() for k in before)
    solver.test()
    assert all((weights_of(solver.test_nets[0])[k] == before[k]).all() for k in before)


def test_solve_leaves_a_test_net_no_memory_of_its_own() -> None:
    solver = toy_solver(max_iter=1, test_interval=100, test_iter=[1], test_initialization=False)
    solver.solve()
    trained = {blob.data_storage for blobs in solver.net.params.values() for blob in blobs}
    tested = {blob.data_storage for blobs in solver.test_nets[0].params.values() for blob in blobs}
    assert tested == trained


def test_a_stop_ends_with_a_snapshot_and_a_snapshot_request_goes_on(tmp_path: Path) -> None:
    solver, diary = watched(tmp_path, max_iter=50)

    class Ask(dragon.Observer):
        def on_iteration(self, solver: dragon.Solver, loss: float, rate: float) -> None:
            if solver.iter == 3:
                solver.request("snapshot")
            if solver.iter == 7:
                solver.request("stop")

    solver.observers.append(Ask())
    solver.solve()
    assert solver.iter == 7
    assert [e for e in diary.events if e[0] == "snapshot"] == [("snapshot", 3), ("snapshot", 7)]


def test_callbacks_are_called_around_the_gradient() -> None:
    solver = toy_solver(max_iter=2)
    seen: list[str] = []
    solver.add_callback(lambda: seen.append("start"), lambda: seen.append("gradients"))
    solver.step(2)
    assert seen == ["start", "gradients"] * 2


def test_a_loss_that_is_not_finite_names_the_layer() -> None:
    solver = toy_solver(base_lr=1e38, max_iter=50)
    with (
        np.errstate(all="ignore"),
        pytest.raises(dragon.NumericError, match=r"iteration \d+: loss is .* first in layer"),
    ):
        solver.solve()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_policy": "fixd"}, '"fixed"'),
        ({"type": "SDG"}, '"SGD"'),
        ({"regularization_type": "L3"}, "regularization_type"),
        ({"iter_size": 0}, "iter_size must be at least 1"),
        ({"test_interval": 5}, "test_interval is set but test_iter is not"),
        (
            {"train_net": "x.prototxt"},
            "exactly one of net, net_param, train_net, train_net_param; got net_param, train_net",
        ),
    ],
)
def test_definitions_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(dragon.PrototxtError, match=message):
        dragon.get_solver(solver_param(TRAINABLE, **settings), engine="numpy")


def test_solver_classes_choose_the_rule() -> None:
    solver = dragon.AdamSolver(solver_param(), engine="numpy")
    assert solver.updater.rule.name == "Adam"
    assert isinstance(dragon.get_solver(solver_param(type="Nesterov"), engine="numpy"), dragon.NesterovSolver)

    class OfScript(dragon.Solver):
        rule_name = "SGD"

    assert OfScript(solver_param(), engine="numpy").updater.rule.name == "SGD"
    assert type(dragon.get_solver(solver_param(), engine="numpy")) is dragon.SGDSolver


@pytest.mark.parametrize("wrong", ['type: "Adm"', 'regularization_type: "L3"', 'lr_policy: "stp"'])
def test_errors_about_a_definition_begin_with_its_file(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "solver.prototxt"
    policy = "" if "lr_policy" in wrong else 'lr_policy: "fixed" '
    path.write_text(f"base_lr: 0.1 {policy}max_iter: 1 {wrong} net_param {{ {TRAINABLE} }}")
    with pytest.raises(dragon.PrototxtError, match=rf"^{path}:1: "):
        dragon.get_solver(str(path))
